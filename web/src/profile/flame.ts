// A flame graph on a canvas: callers above what they call, as wide as the time that the stacks stand for which they are in.

import type { Frame } from "../api";
import { theme } from "../theme";

const ROW = 22;

export interface Box {
  name: string;
  stacks: number;
  all_ms: number;
  own_ms: number;
  /** Names from the outermost frame to this one. */
  path: string[];
  depth: number;
  /** Fractions of the width. */
  from: number;
  to: number;
}

/** Where each frame lies; with `root`, only what is below that one, over the whole width. */
export function layout(frames: Frame[], root: string[]): Box[] {
  const children = new Map<number, number[]>();
  frames.forEach((frame, index) => {
    if (index === 0) return;
    const list = children.get(frame.parent);
    if (list) list.push(index);
    else children.set(frame.parent, [index]);
  });
  let top = 0;
  for (const name of root) {
    const next = (children.get(top) ?? []).find((index) => frames[index]!.name === name);
    if (next === undefined) break;
    top = next;
  }
  const boxes: Box[] = [];
  const place = (index: number, depth: number, from: number, to: number, path: string[]) => {
    const frame = frames[index]!;
    boxes.push({ name: index === 0 ? "all" : frame.name, stacks: frame.stacks, all_ms: frame.all_ms, own_ms: frame.own_ms, path, depth, from, to });
    // In the order of names, so that a frame stays where it is while stacks come in.
    const below = (children.get(index) ?? []).sort((one, other) => (frames[one]!.name < frames[other]!.name ? -1 : 1));
    let at = from;
    for (const child of below) {
      const wide = ((to - from) * frames[child]!.all_ms) / Math.max(1, frame.all_ms);
      place(child, depth + 1, at, at + wide, [...path, frames[child]!.name]);
      at += wide;
    }
  };
  place(top, 0, 0, 1, top === 0 ? [] : root);
  return boxes;
}

export class Flame {
  private boxes: Box[] = [];
  private isDark = false;
  private sized: ResizeObserver;

  constructor(
    private canvas: HTMLCanvasElement,
    point: (hit: { box: Box; left: number; top: number } | null) => void,
    choose: (box: Box) => void,
  ) {
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(canvas.parentElement!);
    canvas.addEventListener("pointermove", (event) => {
      const box = this.find(event.offsetX, event.offsetY);
      point(box && { box, left: event.offsetX, top: event.offsetY });
    });
    canvas.addEventListener("pointerleave", () => point(null));
    canvas.addEventListener("click", (event) => {
      const box = this.find(event.offsetX, event.offsetY);
      if (box) choose(box);
    });
  }

  close(): void {
    this.sized.disconnect();
  }

  set(boxes: Box[], isDark: boolean): void {
    this.boxes = boxes;
    this.isDark = isDark;
    this.draw();
  }

  private find(left: number, top: number): Box | null {
    const at = left / this.canvas.clientWidth;
    const depth = Math.floor(top / ROW);
    return this.boxes.find((box) => box.depth === depth && box.from <= at && at < box.to) ?? null;
  }

  private draw(): void {
    const { canvas, boxes } = this;
    const deepest = boxes.reduce((most, box) => Math.max(most, box.depth), 0);
    const [wide, high, scale] = [canvas.parentElement!.clientWidth, (deepest + 1) * ROW, window.devicePixelRatio || 1];
    canvas.style.height = `${high}px`;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(high * scale);
    const context = canvas.getContext("2d")!;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const box of boxes) {
      const from = box.from * wide;
      const width = Math.max(0.5, (box.to - box.from) * wide - 1);
      context.fillStyle = box.depth === 0 ? theme(this.isDark).line : shade(box.name, this.isDark);
      context.fillRect(from, box.depth * ROW, width, ROW - 1);
      if (width > 40) {
        context.save();
        context.beginPath();
        context.rect(from + 4, box.depth * ROW, width - 8, ROW);
        context.clip();
        context.fillStyle = theme(this.isDark).text;
        context.fillText(box.name, from + 5, box.depth * ROW + ROW / 2);
        context.restore();
      }
    }
  }
}

/** The same name has the same colour; all are near each other, since they mean nothing. */
function shade(name: string, isDark: boolean): string {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) | 0;
  const hue = 24 + (Math.abs(hash) % 30);
  const light = (isDark ? 30 : 72) + (Math.abs(hash >> 8) % 8);
  return `hsl(${hue} 65% ${light}%)`;
}
