// The page: takes in speech, asks for voices, plays and draws.

import { address, ask } from "./api.js";
import { Live } from "./live.js";
import { Player } from "./player.js";
import { Recorder } from "./recorder.js";
import { Timeline } from "./timeline.js";

const get = (id) => document.getElementById(id);
const PLAY = "M8 5v14l11-7z";
const PAUSE = "M7 5h4v14H7zM13 5h4v14h-4z";
const SEXES = { F: "woman", M: "man" };

let model;
let timeline;
let recording = null;
let recorder = null;
let live = null; // a live conversion
let sample = null; // the source that speaks a voice's sample
let asked = 0; // conversions asked for; only the last is shown
const samples = new Map();
const player = new Player(update);

// Runs a task; shows what goes wrong as a sentence.
async function attempt(task) {
  get("error").hidden = true;
  try {
    await task();
  } catch (error) {
    get("error").textContent = error.message;
    get("error").hidden = false;
    get("error").scrollIntoView({ block: "nearest" });
  }
}

function say(text) {
  get("status").textContent = text;
}

function sayState() {
  if (live) say(`Live as ${voiceChosen()}. Use headphones.`);
  else say(recording ? `${recording.name}, ${recording.seconds.toFixed(1)} s. Another?` : "or drop a file here");
}

async function start() {
  model = await (await ask("/api/model")).json();
  get("rate").textContent = Math.round(model.bit_per_s);
  get("model").textContent = `Model ${model.model}: ${model.codes} codes, ${Math.round(1 / model.code_seconds)} a second.`;
  const megabytes = Math.round(model.max_bytes / 2 ** 20);
  get("limits").textContent = `Up to ${model.max_seconds} s and ${megabytes} MB: wav, flac, ogg, opus, mp3, m4a.`;
  const good = model.voices.filter((voice) => voice.good);
  const others = model.voices.filter((voice) => !voice.good);
  const first = good.length ? good : others;
  get("voices").append(...first.map(voiceCard));
  if (good.length && others.length) {
    get("more").hidden = false;
    get("more-title").textContent = `${others.length} more voices, from seconds of speech`;
    get("more-voices").append(...others.map(voiceCard));
  }
  document.querySelector("input[name=voice]").checked = true;
  get("live").hidden = !model.live;
  timeline = new Timeline(get("timeline"), get("head"), model, seek);
}

function voiceCard(voice) {
  const card = document.createElement("div");
  card.className = "voice";
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "voice", value: voice.name });
  input.addEventListener("change", () => attempt(chooseVoice));
  const name = Object.assign(document.createElement("b"), { textContent: voice.name });
  const accent = voice.accent.replaceAll("_", " ").replace(/(?<=[a-z])(?=[A-Z])/g, " "); // VCTK: NorthernIrish, NZ_English
  const about = [SEXES[voice.sex] ?? voice.sex, accent].filter(Boolean).join(", ");
  label.append(input, name, Object.assign(document.createElement("small"), { textContent: about }));
  card.append(label);
  if (model.has_samples) card.append(sampleButton(voice.name));
  return card;
}

function sampleButton(voice) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: "Hear a sample" });
  button.setAttribute("aria-label", `Hear a sample of ${voice}`);
  button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${PLAY}"/></svg>`;
  button.addEventListener("click", () => attempt(() => introduce(voice, button)));
  return button;
}

async function introduce(voice, button) {
  player.pause();
  const before = sample?.button;
  sample?.source.stop();
  if (before === button) return;
  if (!samples.has(voice)) {
    const data = await (await ask(`/api/samples/${encodeURIComponent(voice)}`)).arrayBuffer();
    samples.set(voice, await player.decode(data));
  }
  await player.context.resume();
  const source = new AudioBufferSourceNode(player.context, { buffer: samples.get(voice) });
  const shape = button.querySelector("path");
  shape.setAttribute("d", PAUSE);
  source.onended = () => {
    shape.setAttribute("d", PLAY);
    if (sample?.source === source) sample = null;
  };
  source.connect(player.context.destination);
  source.start();
  sample = { button, source };
}

const voiceChosen = () => document.querySelector("input[name=voice]:checked").value;

async function chooseVoice() {
  if (live) {
    live.speakAs(voiceChosen());
    showLive();
  }
  await convert();
}

async function toggleLive() {
  if (live) {
    live.stop();
    return;
  }
  player.pause();
  sample?.source.stop();
  live = new Live(model.sample_rate, showLatency, (error) => {
    live = null;
    showLive();
    if (error) attempt(() => Promise.reject(error));
  });
  showLive();
  await live.start(voiceChosen());
}

function showLatency(late, byModel) {
  const [all, some] = [late, byModel].map((seconds) => Math.round(1000 * seconds));
  get("counter").textContent = `${all} ms later; ${some} ms of that by the model`;
}

function showLive() {
  get("live").setAttribute("aria-pressed", live !== null);
  get("live").textContent = live ? "Stop" : "Speak live";
  get("record").disabled = live !== null;
  get("counter").textContent = live ? "…" : "";
  sayState();
}

async function toggleRecording() {
  if (recorder) {
    const ended = recorder;
    recorder = null;
    showRecording(false);
    await add(await ended.stop(), "recording.wav");
    return;
  }
  player.pause();
  sample?.source.stop();
  const started = new Recorder((level, seconds) => {
    get("level").value = level;
    get("counter").textContent = `${seconds.toFixed(1)} s of at most ${model.max_seconds}`;
    if (seconds >= model.max_seconds - 0.2 && recorder) attempt(toggleRecording);
  });
  await started.start();
  recorder = started;
  showRecording(true);
}

function showRecording(on) {
  get("record").setAttribute("aria-pressed", on);
  get("record-text").textContent = on ? "Stop" : "Record";
  get("level").hidden = !on;
  get("live").disabled = on;
  get("counter").textContent = "";
  if (on) say("Recording");
  else sayState();
}

async function add(blob, name) {
  if (blob.size > model.max_bytes) throw new Error(`“${name}” is larger than ${Math.round(model.max_bytes / 2 ** 20)} MB: cut it.`);
  say(`Encoding ${name} …`);
  let added;
  try {
    const query = `/api/recordings?name=${encodeURIComponent(name)}`;
    added = await (await ask(query, { method: "POST", body: blob })).json();
  } catch (error) {
    sayState();
    throw error;
  }
  recording = added;
  player.clear();
  get("result").hidden = false;
  timeline.setRecording(recording);
  get("position").max = recording.seconds;
  get("name-original").textContent = recording.name;
  get("name-reconstruction").textContent = `as ${recording.nearest}, the nearest`;
  describe();
  await Promise.all([show("original", ""), show("reconstruction", recording.nearest), convert()]);
  sayState();
  get("result").scrollIntoView({ behavior: "smooth", block: "start" });
}

function describe() {
  const rate = (8 * recording.bytes) / recording.seconds;
  const mean = recording.bits.reduce((sum, bits) => sum + bits, 0) / recording.codes.length;
  const used = new Set(recording.codes).size;
  get("name-codes").textContent = `${used} of ${model.codes} in use`;
  get("name-bits").textContent = `${Math.round(mean / model.code_seconds)} bit/s`;
  get("facts").textContent =
    `${recording.seconds.toFixed(2)} s are ${recording.codes.length} codes: a file of ${recording.bytes} bytes, ` +
    `${Math.round(rate)} bit/s with its header. The same as 16-bit audio: ${Math.round(recording.seconds * 32)} kB.`;
}

async function track(row, voice) {
  const key = recording.key;
  const [wav, levels] = await Promise.all(
    ["wav", "spectrogram"].map(async (what) => (await ask(address(key, what, voice))).arrayBuffer()),
  );
  const buffer = await player.decode(wav);
  return () => {
    if (recording.key !== key) return; // another has come meanwhile
    player.setTrack(row, buffer);
    timeline.setLevels(row, new Uint8Array(levels));
    update();
  };
}

async function show(row, voice) {
  (await track(row, voice))();
}

async function convert() {
  if (!recording) return;
  const voice = voiceChosen();
  const turn = ++asked;
  get("name-conversion").textContent = `as ${voice} …`;
  const ready = await track("conversion", voice);
  if (turn !== asked) return;
  ready();
  get("name-conversion").textContent = `as ${voice}`;
  get("get-wav").href = address(recording.key, "wav", voice);
  get("get-codes").href = address(recording.key, "codes", voice);
}

function seek(time) {
  player.seek(time);
  update();
}

function update() {
  const time = player.time;
  get("play-shape").setAttribute("d", player.playing ? PAUSE : PLAY);
  get("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  if (!recording) return;
  get("position").value = time;
  get("position").setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
  get("time").textContent = `${time.toFixed(2)} / ${recording.seconds.toFixed(2)} s`;
  const i = Math.min(Math.floor(time / model.code_seconds + 1e-6), recording.codes.length - 1);
  get("here").textContent = `At ${time.toFixed(2)} s: code ${recording.codes[i]}, ${recording.bits[i].toFixed(1)} bits`;
  timeline.moveTo(time);
  if (player.playing) requestAnimationFrame(update);
}

get("record").addEventListener("click", () => attempt(toggleRecording));
get("live").addEventListener("click", () => attempt(toggleLive));
get("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) attempt(() => add(file, file.name));
  event.target.value = "";
});
get("play").addEventListener("click", () => (player.playing ? player.pause() : player.play()));
get("position").addEventListener("input", (event) => seek(Number(event.target.value)));
for (const input of document.querySelectorAll("input[name=track]"))
  input.addEventListener("change", () => player.choose(input.value));
player.choose("conversion");
get("zoom-in").addEventListener("click", () => timeline.zoom(0.5));
get("zoom-out").addEventListener("click", () => timeline.zoom(2));
get("zoom-all").addEventListener("click", () => timeline.zoom(0));
const drop = get("drop");
for (const type of ["dragenter", "dragover"])
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) attempt(() => add(file, file.name));
});
attempt(start);
