// The connection: the last overview, recent samples, and whether the picture is still live.

import type { Overview, Sample } from "./api";
import { setRecord } from "./ask";
import type { Run } from "./record";

/** Samples kept here: as many as the server keeps of the recent past. */
const SAMPLES_MAX = 1200;

export type Link = "connecting" | "live" | "lost" | "ended" | "report";

export interface Live {
  link: Link;
  overview: Overview | null;
  samples: Sample[];
}

/** Whether nothing changes any more. */
export function isOver(live: Live): boolean {
  return live.link === "ended" || live.link === "report";
}

/** Tells `changed` of every change; returns what ends that. */
export function connect(changed: (live: Live) => void): () => void {
  let live: Live = { link: "connecting", overview: null, samples: [] };
  let source: EventSource | null = null;
  let retry = 0;

  const embedded = document.getElementById("record");
  if (embedded) {
    const run = JSON.parse(embedded.textContent!) as Run;
    setRecord(run);
    changed({ link: "report", overview: run.overview, samples: run.overview.samples });
    return () => {};
  }

  const set = (change: Partial<Live>) => {
    live = { ...live, ...change };
    changed(live);
  };

  const open = () => {
    window.clearTimeout(retry);
    source = new EventSource("/api/events");
    source.addEventListener("overview", (event) => {
      const overview = JSON.parse((event as MessageEvent<string>).data) as Overview;
      const before = overview.resumed ? live.samples : [];
      const samples = [...before, ...overview.samples].slice(-SAMPLES_MAX);
      set({ link: "live", overview, samples });
    });
    // The last event: the whole run, from which pages go on without the server.
    source.addEventListener("record", (event) => {
      setRecord(JSON.parse((event as MessageEvent<string>).data) as Run);
      source?.close();
      set({ link: "ended" });
    });
    source.onerror = () => {
      if (live.link === "ended") return;
      if (live.overview?.ended) {
        // The record did not come in time; there is nothing to wait for any more.
        source?.close();
        set({ link: "ended" });
        return;
      }
      set({ link: live.overview ? "lost" : "connecting" });
      // The browser tries again by itself, unless it was refused.
      if (source?.readyState === EventSource.CLOSED) retry = window.setTimeout(open, 1000);
    };
  };

  // A page that nobody sees needs no news.
  const seen = () => {
    if (live.link === "ended") return;
    if (document.hidden) {
      window.clearTimeout(retry);
      source?.close();
      source = null;
    } else if (!source) {
      open();
    }
  };
  document.addEventListener("visibilitychange", seen);
  if (!document.hidden) open();
  return () => {
    document.removeEventListener("visibilitychange", seen);
    window.clearTimeout(retry);
    source?.close();
  };
}
