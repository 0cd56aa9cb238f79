// One window, seen and heard: spectrogram with hertz and seconds, and its sound.
//
// In: the number of a window. Out: a picture with axes, a playing audio element with a moving line.

const LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 30;
const HERTZ = [200, 500, 1000, 2000, 3000, 5000, 8000, 12000, 16000, 24000];

export class ClipView {
  constructor(canvas, audio, error) {
    Object.assign(this, { canvas, audio, error, row: -1, lead: 0, image: null });
    this.context = canvas.getContext("2d");
    this.space = null;
    const follow = () => { this.render(); if (!audio.paused) requestAnimationFrame(follow); };
    audio.addEventListener("play", follow);
    audio.addEventListener("seeked", () => this.render());
  }

  async show(row, play) {
    this.row = row;
    this.image = null;
    this.audio.pause();
    this.audio.dataset.row = "";
    this.error.hidden = true;
    const picture = this.load(row);
    const sound = this.loadSound(row, play);
    await Promise.all([picture, sound]);
  }

  async load(row) {
    const answer = await fetch(`/api/windows/${row}/spectrogram.png`);
    if (!answer.ok) { this.fail(row, (await answer.json()).error); return; }
    const decibels = answer.headers.get("X-Decibels");
    const image = await createImageBitmap(await answer.blob());
    if (row !== this.row) return;
    this.image = image;
    this.decibels = decibels;
    this.canvas.dataset.row = row;
    this.render();
  }

  async loadSound(row, play) {
    const answer = await fetch(`/api/windows/${row}/audio.wav?context=${this.space.context_seconds}`);
    if (!answer.ok) {
      const { error } = await answer.json();
      if (row === this.row) this.audio.removeAttribute("src");
      this.fail(row, error);
      return;
    }
    const lead = Number(answer.headers.get("X-Lead-Seconds"));
    const blob = await answer.blob();
    if (row !== this.row) return;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(blob);
    this.lead = lead;
    this.audio.src = this.address;
    this.audio.dataset.row = row;
    if (play) this.play();
  }

  fail(row, why) {
    if (row !== this.row) return;
    this.error.textContent = why;
    this.error.hidden = false;
  }

  toggle() {
    if (!this.audio.src) return;
    if (this.audio.paused) this.play(); else this.audio.pause();
  }

  play() {
    if (this.audio.ended) this.audio.currentTime = 0;
    // A browser may refuse sound before the first key or click: the play button is there then.
    this.audio.play().catch((reason) => {
      if (reason.name !== "AbortError") this.fail(this.row, `press Play (${reason.message})`);
    });
  }

  render() {
    const { context, canvas, space } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.image) return;
    const width = canvas.width - LEFT - RIGHT, height = canvas.height - TOP - BOTTOM;
    const times = space.frame_time, hop = times.length > 1 ? times[1] - times[0] : space.window_seconds;
    const first = times[0] - hop / 2, last = times[times.length - 1] + hop / 2;
    const toX = (seconds) => LEFT + (seconds / space.window_seconds) * width;
    context.imageSmoothingEnabled = true;
    context.drawImage(this.image, toX(first), TOP, toX(last) - toX(first), height);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = "#e8ecef";
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const hertz of HERTZ) {
      const band = bandOf(hertz, space.band_frequency);
      if (band === null) continue;
      const y = TOP + height * (1 - (band + 0.5) / space.band_frequency.length);
      context.fillRect(LEFT - 4, y, 4, 1);
      context.fillText(hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`, LEFT - 6, y);
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    const step = space.window_seconds > 10 ? 5 : space.window_seconds > 4 ? 1 : 0.5;
    for (let s = 0; s <= space.window_seconds + 1e-9; s += step) {
      context.fillRect(toX(s), TOP + height, 1, 4);
      context.fillText(s ? s : "0 s", Math.max(LEFT + 6, Math.min(toX(s), canvas.width - 12)), TOP + height + 6);
    }
    context.fillStyle = "#aab4bc";
    context.textAlign = "right";
    const [low, high] = this.decibels.split(" ");
    context.fillText(`black ${low} dB, bright ${high} dB`, canvas.width - RIGHT, TOP + height + 18);
    const at = this.audio.currentTime - this.lead;
    if (this.audio.src && at >= 0 && at <= space.window_seconds) {
      context.fillStyle = "#fff";
      context.fillRect(toX(at), TOP, 1.5, height);
    }
  }
}

// Place of a frequency among the bands' centres, between two of them; null outside.
function bandOf(hertz, centres) {
  for (let k = 1; k < centres.length; k++) {
    if (hertz >= centres[k - 1] && hertz <= centres[k]) {
      return k - 1 + (hertz - centres[k - 1]) / (centres[k] - centres[k - 1]);
    }
  }
  return null;
}
