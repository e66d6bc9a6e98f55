// The whole run in a strip: how many tasks ran at a time, and where the window lies. Pressing moves the window there.

import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Sample } from "../api";
import { STATES } from "../palette";
import { theme } from "../theme";
import { width, type Span } from "./span";
import { extent, steps, type Step } from "./strip";

const HIGH = 36;

/** What ran is seen, however short. */
const LEAST_HIGH = 2;

interface Props {
  samples: Sample[];
  /** The first and the last time that there is a bar of. */
  whole_s: [number, number] | null;
  span: Span;
  isDark: boolean;
  look: (span: Span) => void;
}

export function Scrub({ samples, whole_s, span, isDark, look }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const ran = useMemo(() => steps(samples), [samples]);
  const { from, to } = extent(ran, whole_s);

  useEffect(() => {
    const element = canvas.current!;
    const draw = () => paint(element, ran, span, { from, to }, isDark);
    draw();
    const sized = new ResizeObserver(draw);
    sized.observe(element);
    return () => sized.disconnect();
  }, [ran, from, to, span, isDark]);

  const move = (event: PointerEvent) => {
    if (event.buttons !== 1) return;
    const at = from + (event.offsetX / canvas.current!.clientWidth) * (to - from);
    look({ from: at - width(span) / 2, to: at + width(span) / 2 });
  };
  // The keys of the canvas above do the same.
  return <canvas class="scrub" ref={canvas} style={{ height: `${HIGH}px` }} aria-hidden="true" onPointerDown={move} onPointerMove={move} />;
}

function paint(element: HTMLCanvasElement, ran: Step[], span: Span, whole: Span, isDark: boolean): void {
  const context = element.getContext("2d")!;
  const scale = window.devicePixelRatio || 1;
  const wide = element.clientWidth;
  element.width = Math.round(wide * scale);
  element.height = Math.round(HIGH * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const x = (at: number) => ((at - whole.from) / width(whole)) * wide;
  const most = Math.max(1, ...ran.map((step) => step.tasks));
  context.fillStyle = theme(isDark).page;
  context.fillRect(0, 0, wide, HIGH);
  context.fillStyle = STATES.running;
  context.globalAlpha = 0.55;
  for (const { from, to, tasks } of ran) {
    const high = Math.max(LEAST_HIGH, (tasks / most) * (HIGH - 4));
    context.fillRect(x(from), HIGH - high, Math.max(1, x(to) - x(from)), high);
  }
  context.globalAlpha = 1;
  const [left, right] = [Math.max(0, x(span.from)), Math.min(wide, x(span.to))];
  if (right < 0 || left > wide) return;
  context.strokeStyle = theme(isDark).text;
  context.lineWidth = 2;
  context.strokeRect(left + 1, 1, Math.max(2, right - left - 2), HIGH - 2);
}
