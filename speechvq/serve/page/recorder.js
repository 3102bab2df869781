// The microphone, as a 16-bit .wav file.

const REASONS = {
  NotAllowedError: "The microphone is blocked: allow it beside the address of this page, or choose a file.",
  NotFoundError: "No microphone was found: connect one, or choose a file.",
  NotReadableError: "Another program is using the microphone: close it, or choose a file.",
};

const PIECE = 1024; // samples

// Calls onPiece with Float32Array pieces of the microphone, and the frame of the context at the end of each, until the
// returned function is called.
export async function listen(context, length, onPiece) {
  await context.audioWorklet.addModule("/page/worklet.js");
  let stream;
  try {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The microphone cannot be used (${error.name}).`);
  }
  const release = () => stream.getTracks().forEach((track) => track.stop());
  try {
    const source = context.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(context, "pieces", { numberOfOutputs: 0, processorOptions: { length } });
    node.port.onmessage = ({ data }) => onPiece(data.piece, data.frame);
    source.connect(node);
    return () => {
      source.disconnect();
      node.port.onmessage = null;
      release();
    };
  } catch (error) {
    release();
    throw error;
  }
}

export class Recorder {
  // onLevel: called with the level from 0 to 1 and the seconds so far.
  constructor(onLevel) {
    this.onLevel = onLevel;
  }

  async start() {
    this.context = new AudioContext();
    this.pieces = [];
    this.samples = 0;
    try {
      this.end = await listen(this.context, PIECE, (piece) => this.keep(piece));
    } catch (error) {
      await this.context.close();
      throw error;
    }
  }

  keep(piece) {
    this.pieces.push(piece);
    this.samples += piece.length;
    let power = 0;
    for (const sample of piece) power += sample * sample;
    const decibels = 10 * Math.log10(power / piece.length + 1e-9);
    this.onLevel(Math.min(Math.max(1 + decibels / 60, 0), 1), this.samples / this.context.sampleRate);
  }

  async stop() {
    this.end();
    const rate = this.context.sampleRate;
    await this.context.close();
    return wavFile(this.pieces, this.samples, rate);
  }
}

function wavFile(pieces, samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples));
  const text = (offset, name) => [...name].forEach((letter, i) => view.setUint8(offset + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples, true);
  let offset = 44;
  for (const piece of pieces)
    for (const sample of piece) {
      view.setInt16(offset, Math.round(Math.min(Math.max(sample, -1), 1) * 32767), true);
      offset += 2;
    }
  return new Blob([view], { type: "audio/wav" });
}
