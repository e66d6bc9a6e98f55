// What is shown of the server's answers: one question at a time, and always about the latest window.

import { ask, type Params } from "../ask";
import { width, type Span } from "./span";

/** How much more than what is seen is asked for, on each side, so that moving shows something at once. */
const MARGIN = 0.5;

/** The server has no more. */
const COLUMNS_MAX = 4096;

function columnsOf(seen: number): number {
  return Math.min(COLUMNS_MAX, Math.ceil(seen * (1 + 2 * MARGIN)));
}

export interface Wanted {
  span: Span;
  columns: number;
  /** Further parts of the question. */
  more: Params;
}

export class Feed<T extends { from_s: number; to_s: number }> {
  answer: T | null = null;
  /** When the answer came, by the page's clock. */
  came = 0;
  private asked: { span: Span; columns: number; key: string } | null = null;
  private wanted: Wanted | null = null;
  private busy = false;
  private closed = false;

  constructor(
    private path: string,
    private changed: (error: string | null) => void,
  ) {}

  /** Asks unless what is there is as good; `anew` asks in any case. */
  want(wanted: Wanted, anew: boolean): void {
    if (!anew && this.suffices(wanted)) return;
    this.wanted = wanted;
    if (!this.busy) void this.run();
  }

  close(): void {
    this.closed = true;
  }

  private suffices({ span, columns, more }: Wanted): boolean {
    if (!this.asked || this.asked.key !== JSON.stringify(more)) return false;
    const { span: has, columns: in_ } = this.asked;
    const wide = width(span) * (1 + 2 * MARGIN);
    const finer = width(has) / in_ / (wide / columnsOf(columns));
    return has.from <= span.from && span.to <= has.to && finer > 0.4 && finer < 1.1;
  }

  private async run(): Promise<void> {
    this.busy = true;
    while (this.wanted && !this.closed) {
      const { span, columns, more } = this.wanted;
      this.wanted = null;
      const margin = width(span) * MARGIN;
      const wide = { from: span.from - margin, to: span.to + margin };
      const asked = { span: wide, columns: columnsOf(columns), key: JSON.stringify(more) };
      try {
        this.answer = await ask<T>(this.path, { from_s: wide.from, to_s: wide.to, columns: asked.columns, ...more });
        this.came = performance.now();
        this.asked = asked;
        if (!this.closed) this.changed(null);
      } catch (problem) {
        if (!this.closed) this.changed(problem instanceof Error ? problem.message : String(problem));
      }
    }
    this.busy = false;
  }
}
