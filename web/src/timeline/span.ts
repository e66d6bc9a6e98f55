// A window of time: seconds since the origin.

export interface Span {
  from: number;
  to: number;
}

/** Nothing shorter can be told apart: the log's times are nanoseconds. */
const LEAST_S = 20e-9;

export function width(span: Span): number {
  return span.to - span.from;
}

export function zoomed(span: Span, at: number, factor: number): Span {
  const wide = Math.max(LEAST_S, width(span) * factor);
  const share = width(span) > 0 ? (at - span.from) / width(span) : 0.5;
  const from = at - share * wide;
  return { from, to: from + wide };
}

export function shifted(span: Span, by: number): Span {
  return { from: span.from + by, to: span.to + by };
}

/** Steps of an axis: 1, 2 or 5 times a power of ten, about so many. */
export function ticks(span: Span, about: number): { step: number; at: number[] } {
  const rough = Math.max(width(span) / about, 1e-9);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((step) => step >= rough)!;
  const at = [];
  for (let number = Math.ceil(span.from / step); number * step <= span.to; number++) at.push(number * step);
  return { step, at };
}
