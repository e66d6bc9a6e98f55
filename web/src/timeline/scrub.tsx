// The whole run in a strip: how many tasks ran, and where the window lies. Pressing moves the window there.

import { useEffect, useRef } from "preact/hooks";
import type { Sample } from "../api";
import { STATES } from "../palette";
import { theme } from "../theme";
import { width, type Span } from "./span";

const HIGH = 36;

interface Props {
  samples: Sample[];
  span: Span;
  isDark: boolean;
  look: (span: Span) => void;
}

export function Scrub({ samples, span, isDark, look }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [from, to] = [samples[0]?.at_s ?? 0, Math.max(samples.at(-1)?.at_s ?? 0, (samples[0]?.at_s ?? 0) + 1e-3)];

  useEffect(() => {
    const element = canvas.current!;
    const draw = () => paint(element, samples, span, { from, to }, isDark);
    draw();
    const sized = new ResizeObserver(draw);
    sized.observe(element);
    return () => sized.disconnect();
  }, [samples, span, isDark]);

  const move = (event: PointerEvent) => {
    if (event.buttons !== 1) return;
    const at = from + (event.offsetX / canvas.current!.clientWidth) * (to - from);
    look({ from: at - width(span) / 2, to: at + width(span) / 2 });
  };
  // The keys of the canvas above do the same.
  return <canvas class="scrub" ref={canvas} style={{ height: `${HIGH}px` }} aria-hidden="true" onPointerDown={move} onPointerMove={move} />;
}

function paint(element: HTMLCanvasElement, samples: Sample[], span: Span, whole: Span, isDark: boolean): void {
  const context = element.getContext("2d")!;
  const scale = window.devicePixelRatio || 1;
  const wide = element.clientWidth;
  element.width = Math.round(wide * scale);
  element.height = Math.round(HIGH * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const x = (at: number) => ((at - whole.from) / width(whole)) * wide;
  const most = Math.max(1, ...samples.map((sample) => sample.running));
  context.fillStyle = theme(isDark).page;
  context.fillRect(0, 0, wide, HIGH);
  context.fillStyle = STATES.running;
  context.globalAlpha = 0.55;
  samples.forEach((sample, index) => {
    const before = samples[index - 1] ?? sample;
    const high = (sample.running / most) * (HIGH - 4);
    context.fillRect(x(before.at_s), HIGH - high, Math.max(1, x(sample.at_s) - x(before.at_s)), high);
  });
  context.globalAlpha = 1;
  const [left, right] = [Math.max(0, x(span.from)), Math.min(wide, x(span.to))];
  if (right < 0 || left > wide) return;
  context.strokeStyle = theme(isDark).text;
  context.lineWidth = 2;
  context.strokeRect(left + 1, 1, Math.max(2, right - left - 2), HIGH - 2);
}
