// Sends the first channel of its input in pieces of 1024 samples.

class Pieces extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(1024);
    this.length = 0;
  }

  process([[channel]]) {
    for (const sample of channel ?? []) {
      this.piece[this.length++] = sample;
      if (this.length === this.piece.length) {
        this.port.postMessage(this.piece);
        this.piece = new Float32Array(1024);
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("pieces", Pieces);
