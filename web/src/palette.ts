// Colours that people with any colour vision tell apart (Okabe and Ito), in an order in which neighbours differ in
// lightness too. A group has the same colour on every page, and the first twenty-four have one of their own.

const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7fd1", "#7a8b00"];

/** Then the same again, darker and lighter. */
const COLOURS = [...HUES, ...HUES.map((hue) => mixed(hue, 0, 0.42)), ...HUES.map((hue) => mixed(hue, 255, 0.5))];

/** A colour with so much black (0) or white (255) in it. */
function mixed(hue: string, other: number, share: number): string {
  const parts = [1, 3, 5].map((at) => parseInt(hue.slice(at, at + 2), 16));
  return `#${parts.map((part) => Math.round(part * (1 - share) + other * share).toString(16).padStart(2, "0")).join("")}`;
}

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
