// Lanes, dots and axes on a canvas. Nothing here knows where the data comes from.

import type { Bar, Cell, Lane, Scatter, Timeline } from "../api";
import { clockOf, duration } from "../format";
import { STATES, colour } from "../palette";
import type { Theme } from "../theme";
import { ticks, width, type Span } from "./span";

export const AXIS = 26;
/** The height of a lane: more where there is room for all of them. */
const [ROW_LEAST, ROW_MOST] = [26, 128];
/** The height of what lies under a label where there are stripes. */
const PLATE = 18;
/** What is left free between the bars of two lanes. */
const ROW_GAP = 6;
/** The part of a bar's height that is left where its task loads arguments or stores its result. */
const PHASE = 0.55;
/** The part of it that is left where its call waits for other tasks. */
const WAIT = 0.3;
/** Phases narrower than this many pixels are not told apart. */
const PHASE_FROM = 1.5;
/** Bars closer than this many pixels are drawn without a gap. */
const GAP_FROM = 4;

export interface Area {
  context: CanvasRenderingContext2D;
  theme: Theme;
  wide: number;
  high: number;
  /** Left of this are names. */
  left: number;
  /** The height of a lane. */
  row: number;
  span: Span;
}

/** The height of lanes so that all of them fit, if they do. */
export function rowFor(lanes: number, room: number): number {
  return Math.min(ROW_MOST, Math.max(ROW_LEAST, Math.floor((room - AXIS) / Math.max(1, lanes))));
}

export function x(area: Area, at: number): number {
  return area.left + ((at - area.span.from) / width(area.span)) * (area.wide - area.left);
}

export function time(area: Area, at: number): number {
  return area.span.from + ((at - area.left) / (area.wide - area.left)) * width(area.span);
}

/** The axis of time, with lines through everything. */
export function drawAxis(area: Area): void {
  const { context, theme, wide, high, left } = area;
  const { step, at } = ticks(area.span, (wide - left) / 110);
  context.fillStyle = theme.dim;
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.beginPath();
  for (const tick of at) {
    const place = Math.round(x(area, tick)) + 0.5;
    if (place < left) continue;
    context.moveTo(place, 0);
    context.lineTo(place, high);
    context.fillText(clockOf(tick, step), place + 4, AXIS / 2);
  }
  context.stroke();
}

export interface Lanes {
  timeline: Timeline;
  names: Map<number, string>;
  /** Pixels by which the lanes are scrolled. */
  scrolled: number;
  /** How far bars without an end have come. */
  now: number;
  /** The task under the pointer or chosen. */
  marked: number | null;
  hatch: CanvasPattern | string;
}

export function drawLanes(area: Area, lanes: Lanes): void {
  const { context, wide, high, left } = area;
  context.save();
  context.beginPath();
  context.rect(0, AXIS, wide, high - AXIS);
  context.clip();
  lanes.timeline.lanes.forEach((lane, index) => {
    const y = AXIS + (lanes.timeline.lane + index) * area.row - lanes.scrolled;
    if (y + area.row < AXIS || y > high) return;
    drawLane(area, lanes, lane, y);
  });
  context.restore();
  context.strokeStyle = area.theme.line;
  context.beginPath();
  context.moveTo(left + 0.5, AXIS);
  context.lineTo(left + 0.5, high);
  context.stroke();
}

function drawLane(area: Area, lanes: Lanes, lane: Lane, y: number): void {
  const { context, theme, wide, high, left, row } = area;
  const [top, bar] = [y + ROW_GAP / 2, row - ROW_GAP];
  context.save();
  context.beginPath();
  context.rect(left, AXIS, wide - left, high - AXIS);
  context.clip();
  // When the worker was there.
  const from = Math.max(left, x(area, lane.up_s));
  const to = Math.min(wide, x(area, lane.down_s ?? lanes.now));
  context.fillStyle = theme.page;
  if (to > from) context.fillRect(from, top, to - from, bar);
  for (const cell of lane.cells) drawCell(area, lanes, cell, top);
  for (const bar of lane.bars) drawBar(area, lanes, bar, top);
  if (lane.down_s !== null) {
    context.fillStyle = theme.dim;
    context.fillRect(x(area, lane.down_s) - 1, top - 2, 2, bar + 4);
  }
  context.restore();
  context.fillStyle = lane.down_s === null ? theme.text : theme.dim;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(fitted(context, lane.label, left - 16), 8, y + row / 2);
}

/** A column of attempts too short to be seen: as high as they fill it. */
function drawCell(area: Area, lanes: Lanes, cell: Cell, top: number): void {
  const { context } = area;
  const most = area.row - ROW_GAP;
  const from = x(area, cell.start_s);
  const to = x(area, cell.start_s + lanes.timeline.column_s);
  if (to < area.left || from > area.wide) return;
  const high = Math.max(2, cell.busy * most);
  context.fillStyle = colour(cell.group);
  context.fillRect(from, top + most - high, to - from + 0.5, high);
  if (cell.failed > 0) {
    context.fillStyle = lanes.hatch;
    context.fillRect(from, top, Math.max(to - from, 2), most);
  }
}

function drawBar(area: Area, lanes: Lanes, bar: Bar, top: number): void {
  const { context, theme } = area;
  const from = x(area, bar.start_s);
  const to = x(area, bar.end_s ?? lanes.now);
  if (to < area.left || from > area.wide) return;
  const wide = Math.max(1, to - from - (to - from >= GAP_FROM ? 1 : 0));
  const tall = area.row - ROW_GAP;
  const fill = colour(bar.group);
  context.fillStyle = fill;
  context.globalAlpha = bar.end_s === null ? 0.75 : 1;
  context.fillRect(from, top, wide, tall);
  context.globalAlpha = 1;
  let runs = drawPhases(area, bar, top, from, from + wide);
  // One that waits now has done so since it was last asked, too.
  if (bar.waits_s) runs = drawWaits(area, bar.waits_s, bar.end_s === null ? lanes.timeline.at_s : Infinity, top, runs);
  if (bar.failed) {
    context.fillStyle = lanes.hatch;
    context.fillRect(from, top, Math.max(wide, 2), tall);
  }
  if (bar.task === lanes.marked) {
    context.strokeStyle = theme.text;
    context.lineWidth = 2;
    context.strokeRect(from, top, wide, tall);
  }
  const seen = Math.max(runs.from, area.left);
  const room = Math.min(runs.to, area.wide) - seen - 8;
  if (room > 36) {
    context.textAlign = "left";
    context.textBaseline = "middle";
    const label = fitted(context, lanes.names.get(bar.group) ?? "", room);
    if (bar.failed) {
      // Nothing can be read on stripes.
      context.fillStyle = fill;
      context.fillRect(seen, top + tall / 2 - PLATE / 2, context.measureText(label).width + 8, PLATE);
    }
    context.fillStyle = inkOn(fill);
    context.fillText(label, seen + 4, top + tall / 2);
  }
}

/** Takes the corners off a bar where its task does not run yet, or any more. Returns where it does. */
function drawPhases(area: Area, bar: Bar, top: number, from: number, to: number): Span {
  const { context, theme } = area;
  const pixels = (lasts: number) => (lasts / width(area.span)) * (area.wide - area.left);
  const runs = { from, to };
  const cut = Math.round((area.row - ROW_GAP) * (1 - PHASE));
  const [load, store] = [pixels(bar.load_s), pixels(bar.store_s)];
  context.fillStyle = theme.page;
  if (load >= PHASE_FROM) {
    runs.from = Math.min(from + load, to);
    context.fillRect(from, top, runs.from - from, cut);
  }
  if (store >= PHASE_FROM) {
    runs.to = Math.max(to - store, runs.from);
    context.fillRect(runs.to, top, to - runs.to, cut);
    if (bar.spilled) {
      // A line over it, as if it went out at the top.
      context.fillStyle = theme.text;
      context.fillRect(runs.to, top, to - runs.to, 2);
    }
  }
  return runs;
}

/** Leaves a thin line, in the colour of tasks that wait, where a call waits for others. Returns the longest part that runs. */
function drawWaits(area: Area, waits: [number, number][], now: number, top: number, runs: Span): Span {
  const { context, theme } = area;
  const tall = area.row - ROW_GAP;
  const thin = Math.max(2, Math.round(tall * WAIT));
  let [from, longest] = [runs.from, { from: runs.from, to: runs.from }];
  const until = (to: number) => {
    if (to - from > longest.to - longest.from) longest = { from, to };
  };
  for (const wait of waits) {
    const begun = Math.max(from, x(area, wait[0]));
    const ended = wait[1] >= now ? runs.to : Math.min(runs.to, x(area, wait[1]));
    if (ended - begun < PHASE_FROM) continue;
    context.fillStyle = theme.page;
    context.fillRect(begun, top, ended - begun, tall);
    context.fillStyle = STATES.blocked;
    context.fillRect(begun, top + Math.round((tall - thin) / 2), ended - begun, thin);
    until(begun);
    from = ended;
  }
  until(runs.to);
  return longest;
}

/** Start against duration, the latter on a logarithmic scale. */
export function drawDots(area: Area, scatter: Scatter): void {
  const { context, theme, wide, high, left } = area;
  if (!scatter.ran_s) return;
  const y = scale(scatter.ran_s, high);
  context.fillStyle = theme.dim;
  context.strokeStyle = theme.line;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.beginPath();
  const [least, most] = scatter.ran_s.map(Math.log10) as [number, number];
  for (let power = Math.floor(least); power <= Math.ceil(most); power++) {
    for (const times of most - least > 2 ? [1] : [1, 2, 5]) {
      const place = y(times * 10 ** power);
      if (place < AXIS || place > high) continue;
      context.fillText(duration(times * 10 ** power), left - 8, place);
      context.moveTo(left, Math.round(place) + 0.5);
      context.lineTo(wide, Math.round(place) + 0.5);
    }
  }
  context.stroke();
  for (const dot of scatter.dots) {
    const place = x(area, dot.start_s);
    if (place < left) continue;
    const size = dotSize(dot.count);
    context.fillStyle = colour(dot.group);
    context.fillRect(place - size / 2, y(dot.ran_s) - size / 2, size, size);
    if (dot.failed > 0) {
      context.strokeStyle = theme.text;
      context.strokeRect(place - size / 2 - 1, y(dot.ran_s) - size / 2 - 1, size + 2, size + 2);
    }
  }
}

export function dotSize(count: number): number {
  return 4 + Math.min(4, Math.log2(count));
}

export function scale([least, most]: [number, number], high: number): (ran: number) => number {
  const [low, range] = [Math.log(least), Math.max(Math.log(most) - Math.log(least), 1e-9)];
  return (ran) => high - 14 - ((Math.log(ran) - low) / range) * (high - AXIS - 28);
}

/** The part of the window that is brushed. */
export function drawBrush(area: Area, brush: Span): void {
  const { context, theme, high, left, wide } = area;
  const from = Math.max(left, x(area, brush.from));
  const to = Math.min(wide, x(area, brush.to));
  if (to <= from) return;
  context.fillStyle = theme.text;
  context.globalAlpha = 0.1;
  context.fillRect(from, AXIS, to - from, high - AXIS);
  context.globalAlpha = 1;
  context.fillRect(from, AXIS, 1, high - AXIS);
  context.fillRect(to - 1, AXIS, 1, high - AXIS);
}

/** Stripes over what failed: they are seen without colour. */
export function hatching(context: CanvasRenderingContext2D): CanvasPattern | string {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  if (!pen) return "#000";
  pen.strokeStyle = "#fff";
  pen.lineWidth = 3.4;
  line(pen);
  pen.strokeStyle = "#000";
  pen.lineWidth = 1.8;
  line(pen);
  return context.createPattern(tile, "repeat") ?? "#000";
}

function line(pen: CanvasRenderingContext2D): void {
  pen.beginPath();
  for (const shift of [-6, 0, 6]) {
    pen.moveTo(shift - 1, 7);
    pen.lineTo(shift + 7, -1);
  }
  pen.stroke();
}

/** Black or white, whichever is read more easily. */
function inkOn(fill: string): string {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(fill.slice(at, at + 2), 16)) as [number, number, number];
  return red * 0.299 + green * 0.587 + blue * 0.114 > 130 ? "#111" : "#fff";
}

/** As much of a text as there is room for. */
function fitted(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  const share = room / Math.max(1, context.measureText(text).width);
  let length = Math.min(text.length - 1, Math.ceil(text.length * share));
  while (length > 0 && context.measureText(text.slice(0, length) + "…").width > room) length--;
  return length > 0 ? text.slice(0, length) + "…" : "";
}
