// A line or area over time: uPlot, sized to its box, with the theme's colours.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clock } from "./format";
import { useDark } from "./theme";

export interface Series {
  label: string;
  colour: string;
  values: (number | null)[];
  /** Filled down to the axis. */
  filled?: boolean;
  dashed?: boolean;
}

interface Props {
  title: string;
  times: number[];
  series: Series[];
  /** How a value is written. */
  format: (value: number) => string;
  /** A number that the axis reaches at least. */
  atLeast?: number;
  /** Whether the axis is divided by powers of two. */
  binary?: boolean;
}

const HEIGHT = 168;
const POWERS_OF_TWO = Array.from({ length: 60 }, (_, power) => 2 ** power);

export function Chart({ title, times, series, format, atLeast, binary }: Props) {
  const isDark = useDark();
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  // The plot reads these when it draws; it is made again only when what it is of changes.
  const latest = useRef({ format, atLeast });
  latest.current = { format, atLeast };
  const kind = series.map((one) => one.label + one.colour).join();

  useEffect(() => {
    const element = box.current!;
    const style = getComputedStyle(element);
    const line = { stroke: style.borderTopColor, width: 1 };
    const axis = { stroke: style.color, grid: line, ticks: line };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { points: { size: 6 }, drag: { x: false, y: false } },
        scales: {
          x: { time: false },
          y: { range: (_, __, max) => [0, Math.max(max * 1.08, latest.current.atLeast ?? 0, 1e-9)] },
        },
        axes: [
          { ...axis, values: (_, values) => values.map(clock), space: 72, size: 32 },
          {
            ...axis,
            values: (_, values) => values.map((value) => latest.current.format(value)),
            size: 72,
            ...(binary ? { incrs: POWERS_OF_TWO } : {}),
          },
        ],
        series: [
          {},
          ...series.map((one) => ({
            label: one.label,
            stroke: one.colour,
            width: 1.5,
            fill: one.filled ? one.colour + "2e" : undefined,
            dash: one.dashed ? [5, 4] : undefined,
            points: { show: false },
          })),
        ],
      },
      [times, ...series.map((one) => one.values)] as uPlot.AlignedData,
      element,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [kind, isDark]);

  useEffect(() => {
    plot.current?.setData([times, ...series.map((one) => one.values)] as uPlot.AlignedData);
  }, [times]);

  const last = series.map((one) => ({ ...one, value: one.values.at(-1) ?? null }));
  const spoken = last.map((one) => `${one.label} ${one.value === null ? "unknown" : format(one.value)}`).join(", ");
  return (
    <figure class="card chart">
      <figcaption>
        <h2>{title}</h2>
        <ul class="legend">
          {last.map((one) => (
            <li key={one.label}>
              <i style={{ background: one.colour }} />
              {one.label} <b>{one.value === null ? "–" : format(one.value)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} class="plot" role="img" aria-label={`${title} over time; now ${spoken}`} />
    </figure>
  );
}
