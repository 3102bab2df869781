// Plays one of several tracks of the same length; changing the track keeps the position.

const FADE = 0.01; // seconds

export class Player {
  // onChange: called when playing starts or stops.
  constructor(onChange) {
    this.onChange = onChange;
    this.context = new AudioContext();
    this.tracks = new Map();
    this.chosen = "";
    this.offset = 0;
    this.running = null;
  }

  get duration() {
    return Math.max(0, ...[...this.tracks.values()].map((track) => track.duration));
  }

  get playing() {
    return this.running !== null;
  }

  get time() {
    const since = this.running ? Math.max(this.context.currentTime - this.running.start, 0) : 0;
    return Math.min(this.offset + since, this.duration);
  }

  decode(data) {
    return this.context.decodeAudioData(data);
  }

  setTrack(name, buffer) {
    this.tracks.set(name, buffer);
    if (this.running) this.seek(this.time);
  }

  clear() {
    this.pause();
    this.tracks.clear();
    this.offset = 0;
  }

  choose(name) {
    this.chosen = name;
    for (const [track, gain] of this.running?.gains ?? [])
      gain.gain.setTargetAtTime(track === name ? 1 : 0, this.context.currentTime, FADE / 3);
  }

  async play() {
    await this.context.resume();
    if (!this.tracks.size || this.running) return;
    if (this.time >= this.duration - 0.02) this.offset = 0;
    const start = this.context.currentTime + 0.02;
    const gains = new Map();
    const sources = [...this.tracks].map(([name, buffer]) => {
      const gain = new GainNode(this.context, { gain: name === this.chosen ? 1 : 0 });
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(gain).connect(this.context.destination);
      source.start(start, this.offset);
      gains.set(name, gain);
      return source;
    });
    this.running = { start, gains, sources };
    sources[0].onended = () => this.pause();
    this.onChange();
  }

  pause() {
    if (!this.running) return;
    this.offset = this.time;
    for (const source of this.running.sources) {
      source.onended = null;
      source.stop();
    }
    this.running = null;
    this.onChange();
  }

  seek(time) {
    const playing = this.playing;
    this.pause();
    this.offset = Math.min(Math.max(time, 0), this.duration);
    if (playing) this.play();
  }
}
