// The timeline's canvas: what window it shows, what the pointer and the keys do to it, and when it is drawn.

import type { Bar, Cell, Dot, Lane, Scatter, Timeline } from "../api";
import { theme } from "../theme";
import { AXIS, dotSize, drawAxis, drawBrush, drawDots, drawLanes, hatching, rowFor, scale, time, x, type Area } from "./draw";
import { Feed } from "./feed";
import { shifted, width, zoomed, type Span } from "./span";

export type Mode = "lanes" | "scatter";

/** What the window does while the run goes on: it ends where the run does, or has all of it, or stays. */
export type Follows = "end" | "whole" | null;

/** What is under the pointer. */
export interface Hit {
  left: number;
  top: number;
  lane?: Lane;
  bar?: Bar;
  cell?: Cell;
  dot?: Dot;
}

/** What the page around the canvas shows of it. */
export interface Shown {
  span: Span;
  follows: Follows;
  brush: Span | null;
  hit: Hit | null;
  error: string | null;
  timeline: Timeline | null;
  scatter: Scatter | null;
}

/** Time between two questions while the run goes on. */
const REFRESH_MS = 500;

/** Time between two pictures of a run that goes on, where nobody moves anything: drawing takes the program's processor. */
const STEP_MS = 100;

/** What is shown goes on for so long after the last answer. If there is none then, nothing happens, or the program has been stopped. */
const AHEAD_MAX_S = 1;

export class Scene {
  private context: CanvasRenderingContext2D;
  private hatch: CanvasPattern | string;
  private span: Span = { from: 0, to: 1 };
  private follows: Follows = "whole";
  private brush: Span | null = null;
  private hit: Hit | null = null;
  /** Where the pointer is. */
  private pointer: [number, number] | null = null;
  private error: string | null = null;
  private mode: Mode = "lanes";
  private isDark = false;
  /** The height of a lane. */
  private row = rowFor(1, 0);
  private ended = false;
  private names = new Map<number, string>();
  private scrolled = 0;
  private frame = 0;
  /** When the next picture is due by itself. */
  private due = 0;
  private timer = 0;
  /** How far the run has come, and how far it had when it was last asked about. */
  private reached_s = 0;
  private asked_s = Number.NaN;
  private drag: { at: number; span: Span; brushes: boolean; moved: boolean } | null = null;
  private lanes: Feed<Timeline>;
  private dots: Feed<Scatter>;
  private sized: ResizeObserver;

  constructor(
    private canvas: HTMLCanvasElement,
    private scroller: HTMLElement,
    private show: (shown: Shown) => void,
    private open: (task: number) => void,
  ) {
    this.context = canvas.getContext("2d")!;
    this.hatch = hatching(this.context);
    const answered = (error: string | null) => this.answered(error);
    this.lanes = new Feed("/api/timeline", answered);
    this.dots = new Feed("/api/scatter", answered);
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(scroller);
    const on = (name: string, run: (event: never) => void, options?: AddEventListenerOptions) =>
      canvas.addEventListener(name, run as EventListener, options);
    on("wheel", (event: WheelEvent) => this.wheel(event), { passive: false });
    on("pointerdown", (event: PointerEvent) => this.press(event));
    on("pointermove", (event: PointerEvent) => this.move(event));
    on("pointerup", (event: PointerEvent) => this.release(event));
    on("pointerleave", () => this.point(null));
    on("dblclick", (event: MouseEvent) => this.zoom(0.25, time(this.area(), event.offsetX)));
    scroller.addEventListener("scroll", this.onScroll);
    this.resize();
    this.tick();
  }

  close(): void {
    cancelAnimationFrame(this.frame);
    window.clearTimeout(this.due);
    window.clearTimeout(this.timer);
    this.sized.disconnect();
    this.scroller.removeEventListener("scroll", this.onScroll);
    this.lanes.close();
    this.dots.close();
  }

  set(change: { mode: Mode; isDark: boolean; ended: boolean; names: Map<number, string>; row: number }): void {
    if (this.mode !== change.mode) this.hit = this.pointer = null;
    Object.assign(this, change);
    this.ask(true);
    this.paint();
  }

  /** The run has come this far: as long as that stays so, there is nothing new. */
  reached(at_s: number): void {
    this.reached_s = at_s;
  }

  zoom(factor: number, at?: number): void {
    const { from, to } = this.span;
    // Who follows the end zooms at the end.
    const atEnd = at === undefined && this.follows !== null && !this.ended;
    this.look(zoomed(this.span, at ?? (atEnd ? to : (from + to) / 2), factor), atEnd ? "end" : null);
  }

  pan(share: number): void {
    this.look(shifted(this.span, share * width(this.span)), null);
  }

  whole(): void {
    this.look(this.span, "whole");
  }

  follow(): void {
    this.look(this.span, "end");
  }

  /** Shows this window from now on. */
  look(span: Span, follows: Follows): void {
    this.span = span;
    this.follows = follows;
    this.goOn();
    this.ask(false);
    this.paint();
    this.tell();
  }

  setBrush(brush: Span | null): void {
    this.brush = brush;
    this.paint();
    this.tell();
  }

  private onScroll = (): void => {
    this.scrolled = this.scroller.scrollTop;
    this.ask(false);
    this.paint();
  };

  /** How far the run has come, as far as this page can know. */
  private now(): number {
    const answer = this.lanes.answer;
    if (!answer) return 0;
    const age_s = this.age_s();
    return answer.at_s + (this.ended || age_s > AHEAD_MAX_S ? 0 : age_s);
  }

  private age_s(): number {
    return (performance.now() - this.lanes.came) / 1000;
  }

  /** Moves the window to where it should be by now. */
  private goOn(): void {
    const now = this.now();
    if (this.follows === "end") {
      this.span = { from: now - width(this.span), to: now };
    } else if (this.follows === "whole" && this.lanes.answer) {
      const { whole_s, at_s } = this.lanes.answer;
      const [from, last] = whole_s;
      // What runs goes on; if nothing does, nothing is to be seen behind the last bar.
      const to = last >= at_s ? Math.max(last, now) : last;
      const wide = Math.max(to - from, 1e-6);
      this.span = { from: from - 0.01 * wide, to: to + 0.01 * wide };
    }
  }

  private answered(error: string | null): void {
    this.error = error;
    if (error !== null) this.asked_s = Number.NaN;
    this.goOn();
    // The first answer says where the run lies, and that may be elsewhere.
    if (error === null) this.ask(false);
    this.hit = this.pointer && this.find(...this.pointer);
    this.paint();
    this.tell();
  }

  /** While the run goes on, what is shown does too. */
  private tick = (): void => {
    if (!document.hidden && !this.ended && this.asked_s !== this.reached_s) {
      this.asked_s = this.reached_s;
      this.ask(true);
    }
    this.timer = window.setTimeout(this.tick, REFRESH_MS);
  };

  private ask(anew: boolean): void {
    const columns = Math.max(50, Math.round(this.wide() - this.left()));
    const rows = Math.ceil(this.canvas.clientHeight / this.row) + 1;
    const lane = Math.floor(this.scrolled / this.row);
    this.goOn();
    const { span } = this;
    this.lanes.want({ span, columns, more: { lane, lanes: Math.min(256, rows) } }, anew);
    if (this.mode === "scatter") {
      this.dots.want({ span, columns: Math.ceil(columns / 4), more: { rows: Math.ceil(this.canvas.clientHeight / 4) } }, anew);
    }
  }

  private wide(): number {
    return this.canvas.clientWidth;
  }

  private left(): number {
    return Math.min(220, this.wide() * 0.2);
  }

  private area(): Area {
    return {
      context: this.context,
      theme: theme(this.isDark),
      wide: this.wide(),
      high: this.canvas.clientHeight,
      left: this.left(),
      row: this.row,
      span: this.span,
    };
  }

  private resize(): void {
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(this.wide() * scale), Math.round(this.canvas.clientHeight * scale)];
    if (this.canvas.width === wide && this.canvas.height === high) return;
    this.canvas.width = wide;
    this.canvas.height = high;
    this.ask(false);
    this.paint();
  }

  private paint = (): void => {
    if (!this.frame) this.frame = requestAnimationFrame(this.draw);
  };

  private draw = (): void => {
    this.frame = 0;
    window.clearTimeout(this.due);
    this.goOn();
    const area = this.area();
    const { context, wide, high } = area;
    const scale = window.devicePixelRatio || 1;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, wide, high);
    context.font = "12px system-ui, sans-serif";
    drawAxis(area);
    const timeline = this.lanes.answer;
    if (this.mode === "scatter") {
      if (this.dots.answer) drawDots(area, this.dots.answer);
    } else if (timeline) {
      const { names, scrolled, hatch } = this;
      drawLanes(area, { timeline, names, scrolled, hatch, now: this.now(), marked: this.hit?.bar?.task ?? null });
    }
    if (this.brush) drawBrush(area, this.brush);
    // Bars grow, and the window moves with the end.
    const grows = timeline?.lanes.some((lane) => lane.bars.some((bar) => bar.end_s === null));
    if (this.ended || !(this.follows || grows) || this.age_s() > AHEAD_MAX_S) return;
    // By less than a pixel nobody sees it.
    const pixel_ms = (1000 * width(this.span)) / Math.max(1, (wide - area.left) * scale);
    this.due = window.setTimeout(this.paint, Math.max(STEP_MS, pixel_ms));
  };

  private told = 0;

  private tell(): void {
    // The page around need not change more often than it can be read.
    if (this.told) return;
    this.told = window.setTimeout(() => {
      this.told = 0;
      const { span, follows, brush, hit, error } = this;
      this.show({ span, follows, brush, hit, error, timeline: this.lanes.answer, scatter: this.dots.answer });
    }, 30);
  }

  private wheel(event: WheelEvent): void {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 200), time(this.area(), event.offsetX));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.pan((event.deltaX || event.deltaY) / 1000);
    }
  }

  private press(event: PointerEvent): void {
    if (event.button !== 0 || event.offsetX < this.left()) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { at: event.offsetX, span: this.span, brushes: event.shiftKey, moved: false };
  }

  private move(event: PointerEvent): void {
    const { drag } = this;
    if (!drag) return this.point(event);
    if (!drag.moved && Math.abs(event.offsetX - drag.at) < 3) return;
    drag.moved = true;
    const area = this.area();
    if (drag.brushes) {
      const ends = [time(area, drag.at), time(area, event.offsetX)].sort((one, other) => one - other);
      this.setBrush({ from: ends[0]!, to: ends[1]! });
    } else {
      const by = ((drag.at - event.offsetX) / (area.wide - area.left)) * width(drag.span);
      this.look(shifted(drag.span, by), null);
    }
  }

  private release(event: PointerEvent): void {
    const { drag } = this;
    this.drag = null;
    if (!drag || drag.moved) return;
    if (drag.brushes) return this.setBrush(null);
    this.point(event);
    const task = this.hit?.bar?.task ?? this.hit?.dot?.task;
    if (task !== undefined) this.open(task);
  }

  private point(event: PointerEvent | null): void {
    this.pointer = event && [event.offsetX, event.offsetY];
    const hit = this.pointer && this.find(...this.pointer);
    if (!hit && !this.hit) return;
    this.hit = hit;
    this.paint();
    this.tell();
  }

  private find(left: number, top: number): Hit | null {
    const area = this.area();
    if (left < area.left || top < AXIS) return null;
    const at = time(area, left);
    if (this.mode === "scatter") return this.findDot(area, left, top);
    const timeline = this.lanes.answer;
    if (!timeline) return null;
    const lane = timeline.lanes[Math.floor((top - AXIS + this.scrolled) / this.row) - timeline.lane];
    if (!lane) return null;
    // A pixel on each side, so that thin ones can be hit.
    const near = width(area.span) / (area.wide - area.left);
    const bar = lane.bars.find((bar) => bar.start_s - near <= at && at <= (bar.end_s ?? this.now()) + near);
    const cell = lane.cells.find((cell) => cell.start_s <= at && at < cell.start_s + timeline.column_s);
    const found: Hit = { left, top, lane };
    if (bar) found.bar = bar;
    else if (cell) found.cell = cell;
    return found;
  }

  private findDot(area: Area, left: number, top: number): Hit | null {
    const scatter = this.dots.answer;
    if (!scatter?.ran_s) return null;
    const y = scale(scatter.ran_s, area.high);
    let [best, nearest]: [Dot | null, number] = [null, 10];
    for (const dot of scatter.dots) {
      const away = Math.hypot(x(area, dot.start_s) - left, y(dot.ran_s) - top) - dotSize(dot.count) / 2;
      if (away < nearest) [best, nearest] = [dot, away];
    }
    return best && { left, top, dot: best };
  }
}
