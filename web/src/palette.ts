// Colours that people with any colour vision tell apart (Okabe and Ito), in an order in which neighbours differ in
// lightness too. A group has the same colour on every page.

const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7fd1", "#7a8b00"];

export function colour(group: number): string {
  return COLOURS[group % COLOURS.length]!;
}

/** The colour of a task's state, as `api.ts` has them. */
export function stateColour(state: string): string {
  if (state in STATES) return STATES[state as keyof typeof STATES];
  return state === "cancelled" || state === "dependency-failed" || state === "unknown" ? STATES.dropped : STATES.failed;
}

export const STATES = {
  running: "#009e73",
  blocked: "#8a7fd1",
  ahead: "#56b4e9",
  ready: "#e69f00",
  backoff: "#cc79a7",
  waiting: "#999999",
  finished: "#0072b2",
  failed: "#d55e00",
  dropped: "#7a6a5a",
} as const;
