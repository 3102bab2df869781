// Spectrograms, codes and bit rate of a recording under one time axis.

const SMOOTHING = 0.25; // seconds over which the bit rate is averaged
const NARROWEST = 0.25; // seconds that are shown at least

export class Timeline {
  // box: the element with a canvas for each row. onSeek: called with the seconds where it was clicked or dragged.
  constructor(box, head, model, onSeek) {
    Object.assign(this, { box, head, model });
    this.rows = Object.fromEntries([...box.querySelectorAll("canvas")].map((canvas) => [canvas.dataset.row, canvas]));
    this.levels = {};
    this.pictures = {};
    this.start = 0;
    this.span = 1;
    this.time = 0;
    new ResizeObserver(() => this.draw()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    for (const canvas of Object.values(this.rows)) {
      const seek = (event) => onSeek(this.start + ((event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth) * this.span);
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        seek(event);
      });
      canvas.addEventListener("pointermove", (event) => event.buttons && seek(event));
    }
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  setRecording(recording) {
    this.recording = recording;
    this.levels = {};
    this.pictures = {};
    this.show(0, recording.seconds);
  }

  setLevels(row, levels) {
    this.levels[row] = levels;
    this.repaint();
  }

  wheel(event) {
    if (!event.deltaX && !event.shiftKey) return;
    event.preventDefault();
    this.show(this.start + ((event.deltaX || event.deltaY) / this.width) * this.span, this.span);
  }

  zoom(factor) {
    if (!this.recording) return;
    const span = factor ? Math.max(this.span * factor, NARROWEST) : this.recording.seconds;
    this.show(this.time - span / 2, span);
  }

  show(start, span) {
    this.span = Math.min(span, this.recording.seconds);
    this.start = Math.min(Math.max(start, 0), this.recording.seconds - this.span);
    this.draw();
  }

  moveTo(time) {
    if (!this.recording) return;
    this.time = time;
    if (time < this.start || time > this.start + this.span) this.show(time - 0.1 * this.span, this.span);
    this.head.style.left = `${this.rows.codes.offsetLeft + this.x(time)}px`;
  }

  get width() {
    return this.rows.codes.clientWidth;
  }

  x(time) {
    return ((time - this.start) / this.span) * this.width;
  }

  repaint() {
    const stops = ["--s0", "--s1", "--s2", "--s3"].map((name) => rgb(this.colour(name)));
    for (const [row, levels] of Object.entries(this.levels)) this.pictures[row] = picture(levels, this.model.bands, stops);
    this.draw();
  }

  colour(name) {
    return getComputedStyle(this.box).getPropertyValue(name).trim();
  }

  draw() {
    if (!this.recording || !this.width) return;
    for (const row of ["original", "reconstruction", "conversion"]) this.drawSpectrogram(row);
    this.drawCodes();
    this.drawBits();
    this.drawAxis();
    this.moveTo(Math.min(Math.max(this.time, this.start), this.start + this.span));
  }

  canvas(row) {
    const canvas = this.rows[row];
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = `12px ${getComputedStyle(this.box).fontFamily}`;
    return [pen, canvas.clientWidth, canvas.clientHeight];
  }

  drawSpectrogram(row) {
    const [pen, width, height] = this.canvas(row);
    pen.fillStyle = this.colour("--s0");
    pen.fillRect(0, 0, width, height);
    const image = this.pictures[row];
    if (!image) return;
    const frames = 1 / this.model.frame_seconds;
    pen.drawImage(image, this.start * frames, 0, this.span * frames, image.height, 0, 0, width, height);
  }

  visibleCodes() {
    const step = this.model.code_seconds;
    const first = Math.max(Math.floor(this.start / step), 0);
    const end = Math.min(Math.ceil((this.start + this.span) / step), this.recording.codes.length);
    return Array.from({ length: end - first }, (_, i) => first + i);
  }

  drawCodes() {
    const [pen, , height] = this.canvas("codes");
    const step = this.model.code_seconds;
    const cell = (step / this.span) * this.width;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const i of this.visibleCodes()) {
      const code = this.recording.codes[i];
      const x = this.x(i * step);
      pen.fillStyle = `hsl(${(code * 137.508) % 360} ${dark ? "32% 38%" : "48% 82%"})`;
      pen.fillRect(x, 0, cell + 0.5, height);
      if (cell < 12 || x < -1 || x + cell > this.width + 1) continue; // no room for its number
      pen.save();
      pen.translate(x + cell / 2, height / 2);
      if (cell < 30) pen.rotate(-Math.PI / 2);
      pen.fillStyle = this.colour("--ink");
      pen.fillText(String(code), 0, 0);
      pen.restore();
    }
  }

  drawBits() {
    const [pen, , height] = this.canvas("bits");
    const step = this.model.code_seconds;
    const reach = Math.max(Math.round(SMOOTHING / step / 2), 0);
    const bits = this.recording.bits;
    const highest = (1.25 * Math.max(...bits)) / step;
    const rate = (i) => {
      const near = bits.slice(Math.max(i - reach, 0), i + reach + 1);
      return near.reduce((sum, one) => sum + one, 0) / near.length / step;
    };
    const y = (value) => height - 1 - (value / highest) * (height - 2);
    const codes = this.visibleCodes();
    pen.beginPath();
    const ends = [codes[0], codes.at(-1) + 1].map((i) => this.x(i * step));
    const points = codes.map((i) => [this.x((i + 0.5) * step), y(rate(i))]);
    const curve = [[ends[0], points[0][1]], ...points, [ends[1], points.at(-1)[1]]];
    pen.moveTo(ends[0], height);
    for (const point of curve) pen.lineTo(...point);
    pen.lineTo(ends[1], height);
    pen.closePath();
    pen.globalAlpha = 0.22;
    pen.fillStyle = this.colour("--accent");
    pen.fill();
    pen.globalAlpha = 1;
    pen.beginPath();
    for (const point of curve) pen.lineTo(...point);
    pen.strokeStyle = this.colour("--accent");
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.setLineDash([4, 4]);
    pen.strokeStyle = this.colour("--soft");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(0, y(this.model.bit_per_s));
    pen.lineTo(this.width, y(this.model.bit_per_s));
    pen.stroke();
  }

  drawAxis() {
    const [pen] = this.canvas("axis");
    const steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20];
    const step = steps.find((one) => (one / this.span) * this.width >= 64) ?? 30;
    pen.fillStyle = this.colour("--soft");
    pen.textAlign = "center";
    pen.textBaseline = "bottom";
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    for (let n = Math.ceil(this.start / step - 1e-6); n * step <= this.start + this.span + 1e-6; n++) {
      const x = this.x(n * step);
      pen.fillRect(Math.min(Math.max(x, 0.5), this.width - 0.5) - 0.5, 0, 1, 4);
      const label = `${(n * step).toFixed(digits)} s`;
      const half = pen.measureText(label).width / 2;
      pen.fillText(label, Math.min(Math.max(x, half), this.width - half), 20);
    }
  }
}

function rgb(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

// Levels (bands x frames, low frequencies first) as a picture with low frequencies at the bottom.
function picture(levels, bands, stops) {
  const frames = levels.length / bands;
  const table = Array.from({ length: 256 }, (_, level) => {
    const at = (level / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((value, i) => value + (at - low) * (stops[low + 1][i] - value));
  });
  const canvas = new OffscreenCanvas(frames, bands);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(frames, bands);
  for (let band = 0; band < bands; band++)
    for (let frame = 0; frame < frames; frame++) {
      const pixel = 4 * ((bands - 1 - band) * frames + frame);
      image.data.set(table[levels[band * frames + frame]], pixel);
      image.data[pixel + 3] = 255;
    }
  pen.putImageData(image, 0, 0);
  return canvas;
}
