// Live conversion: the microphone to the server, what comes back to the loudspeaker.

import { GONE } from "./api.js";
import { listen } from "./recorder.js";

const PIECE = 0.02; // seconds of a message
const CUSHION = 0.06; // seconds of speech that are waited for before the first is played
const TOO_LATE = 2; // seconds
const PATIENCE = 5; // seconds for which it may be too late

export class Live {
  // rate: of the model in Hz.
  // onLate: called with the seconds from the microphone to the loudspeaker, and how many of them are the model's.
  // onEnd: called once when it has ended, with an error or nothing.
  constructor(rate, onLate, onEnd) {
    Object.assign(this, { rate, onLate, onEnd });
  }

  async start(voice) {
    this.voice = voice;
    try {
      await this.open({ sampleRate: this.rate }).catch((error) => {
        if (error.name !== "NotSupportedError") throw error;
        return this.open({}); // Firefox does not resample a microphone, but the server does
      });
      if (this.context) this.speakAs(this.voice);
    } catch (error) {
      this.stop(error);
    }
  }

  async open(options) {
    if (this.ended) return;
    await this.context?.close();
    const context = new AudioContext(options);
    this.context = context;
    const length = Math.round(PIECE * context.sampleRate);
    const silence = await listen(context, length, (piece, frame) => this.send(piece, frame));
    if (this.ended) {
      silence();
      return;
    }
    this.silence = silence;
    this.output = new AudioWorkletNode(context, "queue", { numberOfInputs: 0, processorOptions: { cushion: CUSHION } });
    this.output.port.onmessage = ({ data }) => this.played(data);
    this.output.connect(context.destination);
  }

  // Goes on with another voice, too; while the microphone is being opened, that is the one to begin with.
  speakAs(voice) {
    this.voice = voice;
    if (!this.output) return;
    this.socket?.close();
    const url = new URL("/api/live", location.href);
    url.protocol = "ws:";
    url.search = new URLSearchParams({ voice, rate: this.context.sampleRate });
    const socket = new WebSocket(url);
    Object.assign(this, { socket, latency: null, given: 0, inTime: this.context.currentTime });
    this.output.port.postMessage(null);
    socket.binaryType = "arraybuffer";
    socket.onclose = () => this.socket === socket && this.stop(new Error(GONE));
    socket.onmessage = ({ data }) => this.socket === socket && this.receive(data);
  }

  receive(data) {
    if (typeof data !== "string") {
      this.output.port.postMessage(new Float32Array(data), [data]);
      return;
    }
    const { latency, error } = JSON.parse(data);
    if (error) this.stop(new Error(error));
    else this.latency = latency;
  }

  // frame: of the context, when the last sample of the piece came in.
  send(piece, frame) {
    if (!this.socket || this.latency === null || this.socket.readyState !== WebSocket.OPEN) return;
    this.given += piece.length;
    this.frame = frame;
    this.socket.send(piece);
  }

  // samples: how many have been played of those that came back, until which frame of the context.
  played({ samples, frame }) {
    if (!this.context || !this.given || samples > this.given) return;
    const late = (this.given - samples + frame - this.frame) / this.context.sampleRate + (this.context.outputLatency || 0);
    if (late < TOO_LATE) this.inTime = this.context.currentTime;
    if (this.context.currentTime > this.inTime + PATIENCE)
      this.stop(new Error("This computer is too slow, or too busy, for live conversion."));
    else if (samples) this.onLate(late, this.latency);
  }

  stop(error) {
    if (this.ended) return;
    this.ended = true;
    this.silence?.();
    const { socket, context } = this;
    this.socket = this.context = null;
    socket?.close();
    context?.close();
    this.onEnd(error);
  }
}
