// Light or dark: canvases are drawn in colours, not in variables.

import { useEffect, useState } from "preact/hooks";

export function useDark(): boolean {
  const [query] = useState(() => window.matchMedia("(prefers-color-scheme: dark)"));
  // Asked once: a query that is asked between a change and the event of it has no such event any more.
  const [isDark, setDark] = useState(() => query.matches);
  useEffect(() => {
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return isDark;
}

export interface Theme {
  text: string;
  dim: string;
  line: string;
  card: string;
  page: string;
}

/** The colours of `style.css`, as a canvas needs them. */
export function theme(isDark: boolean): Theme {
  return isDark
    ? { text: "#e8e8e6", dim: "#a2a6ad", line: "#363b41", card: "#1f2226", page: "#16181b" }
    : { text: "#1c1e21", dim: "#5c6066", line: "#e2e2de", card: "#ffffff", page: "#f6f6f4" };
}
