// The connection: the last overview, recent samples, and whether the picture is still live.

import type { Overview, Sample } from "./api";
import { setRecord } from "./ask";
import type { Run } from "./record";

/** Samples kept here: as many as the server keeps of the recent past. */
const SAMPLES_MAX = 1200;
/** Numbers that change more often than this cannot be read, and drawing them costs the program its processor. */
const STEP_MS = 500;
/** The server says something every two seconds at least. */
const SILENT_AFTER_S = 6;

export type Link = "connecting" | "live" | "silent" | "lost" | "ended" | "report" | "excerpt";

export interface Live {
  link: Link;
  overview: Overview | null;
  samples: Sample[];
  /** How long nothing has been heard of the program, if that is longer than it should be. */
  silent_s: number;
}

export const NOTHING: Live = { link: "connecting", overview: null, samples: [], silent_s: 0 };

/** Whether nothing changes any more. */
export function isOver(live: Live): boolean {
  return live.link === "ended" || live.link === "report" || live.link === "excerpt";
}

/** Tells `changed` of every change; returns what ends that. */
export function connect(changed: (live: Live) => void): () => void {
  const embedded = document.getElementById("record");
  if (embedded) {
    const run = JSON.parse(embedded.textContent!) as Run;
    setRecord(run);
    changed({ ...NOTHING, link: run.has_ended ? "report" : "excerpt", overview: run.overview, samples: run.overview.samples });
    return () => {};
  }

  let live = NOTHING;
  let quiet_s = 0;
  let [told, later] = [-Infinity, 0];
  const tell = () => {
    window.clearTimeout(later);
    later = 0;
    // Where nobody sees the page it is drawn when somebody does.
    if (document.hidden) return;
    told = performance.now();
    changed(live);
  };
  const take = (news: News) => {
    if (news.record) setRecord(news.record);
    // From now on there is nothing to hear, from whatever comes to be at this address.
    if (news.link === "ended") stop();
    quiet_s = 0;
    const { link } = live;
    live = { ...live, ...news, silent_s: 0 };
    if (live.link === "lost" && !live.overview) live.link = "connecting";
    const wait = told + STEP_MS - performance.now();
    // That the connection is another is told at once, and so is the end.
    if (live.link !== link || news.overview?.ended || wait <= 0) tell();
    else if (!later) later = window.setTimeout(tell, wait);
  };
  const leave = share(take);
  document.addEventListener("visibilitychange", tell);
  // Seconds are counted one by one: those in which this machine slept are not the program's.
  const clock = window.setInterval(() => {
    quiet_s++;
    if (quiet_s < SILENT_AFTER_S || live.link === "lost") return;
    live = { ...live, link: live.overview ? "silent" : "connecting", silent_s: quiet_s };
    tell();
  }, 1000);
  const stop = () => {
    window.clearInterval(clock);
    window.clearTimeout(later);
    leave();
  };
  return () => {
    document.removeEventListener("visibilitychange", tell);
    stop();
  };
}

/** What is heard of the program. */
interface News {
  link: Link;
  overview?: Overview;
  samples?: Sample[];
  record?: Run;
}

/** Follows the events of the server, also where nobody sees the page: at its end the run would be gone. */
function follow(tell: (news: News) => void): () => void {
  let overview: Overview | undefined;
  let samples: Sample[] = [];
  let source: EventSource;
  let retry = 0;
  const open = () => {
    source = new EventSource("/api/events");
    source.addEventListener("overview", (event) => {
      overview = JSON.parse((event as MessageEvent<string>).data) as Overview;
      samples = [...(overview.resumed ? samples : []), ...overview.samples].slice(-SAMPLES_MAX);
      tell({ link: "live", overview, samples });
    });
    source.addEventListener("alive", () => tell({ link: "live" }));
    // The last event: the whole run, from which pages go on without the server.
    source.addEventListener("record", (event) => {
      const record = JSON.parse((event as MessageEvent<string>).data) as Run;
      source.close();
      tell({ link: "ended", record });
    });
    source.onerror = () => {
      if (overview?.ended) {
        // The record did not come in time; there is nothing to wait for any more.
        source.close();
        tell({ link: "ended" });
        return;
      }
      tell({ link: "lost" });
      // The browser tries again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) retry = window.setTimeout(open, 1000);
    };
  };
  open();
  return () => {
    window.clearTimeout(retry);
    source.close();
  };
}

/** One page of a browser follows the events and tells the others, since there are but six connections to a server for all. */
function share(take: (news: News) => void): () => void {
  // Where the page came over a network without encryption there are no locks.
  if (!navigator.locks) return follow(take);
  const channel = new BroadcastChannel("lineshaft");
  const waiting = new AbortController();
  let last: News | null = null;
  let leave = () => waiting.abort();
  let isShared = false;
  channel.onmessage = ({ data }: MessageEvent<News | "here" | "who is there">) => {
    if (data === "who is there") return channel.postMessage("here");
    if (data !== "here") return take(data);
    isShared = true;
    if (last) channel.postMessage(last);
  };
  const lead = () =>
    new Promise<void>((over) => {
      channel.postMessage("who is there");
      const close = follow((news) => {
        last = { ...last, ...news };
        if (isShared) channel.postMessage(news);
        take(news);
      });
      leave = () => {
        close();
        over();
      };
    });
  navigator.locks.request("lineshaft", { signal: waiting.signal }, lead).catch(() => {});
  channel.postMessage("here");
  return () => {
    leave();
    channel.close();
  };
}
