// Sends the first channel of its input in pieces, each with the frame at its end.
class Pieces extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.piece = new Float32Array(processorOptions.length);
    this.length = 0;
  }

  process([[channel]]) {
    for (const [i, sample] of (channel ?? []).entries()) {
      this.piece[this.length++] = sample;
      if (this.length === this.piece.length) {
        this.port.postMessage({ piece: this.piece, frame: currentFrame + i + 1 });
        this.piece = new Float32Array(this.piece.length);
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("pieces", Pieces);

const NEWS = 0.5; // seconds between messages of what has been played
const FADE = 0.005; // seconds

// Plays pieces that come in messages, once a cushion of them is there; a message of nothing empties it. When more than that has
// waited for half a second, the rest is left out, so that it is not late for ever after a delay.
class Queue extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.cushion = processorOptions.cushion * sampleRate;
    this.fade = Math.round(FADE * sampleRate);
    this.clear();
    this.port.onmessage = ({ data }) => {
      if (!data) this.clear();
      else if (data.length) {
        this.pieces.push(data);
        this.waiting += data.length;
      }
    };
  }

  clear() {
    Object.assign(this, { pieces: [], offset: 0, waiting: 0, played: 0, started: false, fading: [], least: Infinity, since: 0 });
  }

  next() {
    const sample = this.pieces[0][this.offset++];
    if (this.offset === this.pieces[0].length) {
      this.pieces.shift();
      this.offset = 0;
    }
    this.waiting--;
    this.played++;
    return sample;
  }

  skip(samples) {
    const left = Array.from({ length: samples }, () => this.next());
    this.fading = left.slice(0, this.fade);
  }

  process(_, [[channel]]) {
    this.started ||= this.waiting >= this.cushion;
    for (let i = 0; this.started && i < channel.length && this.waiting; i++) {
      const weight = this.fading.length / this.fade;
      channel[i] = (1 - weight) * this.next() + (weight && weight * this.fading.shift());
    }
    if (!this.waiting) this.started = false; // it ran dry: a cushion is waited for again
    this.least = Math.min(this.least, this.waiting);
    this.since += channel.length;
    if (this.since >= NEWS * sampleRate) {
      if (this.least > this.cushion) this.skip(Math.round(this.least - this.cushion / 2));
      this.port.postMessage({ samples: this.played, frame: currentFrame + channel.length });
      this.least = Infinity;
      this.since = 0;
    }
    return true;
  }
}

registerProcessor("queue", Queue);
