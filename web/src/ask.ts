// Questions to the server, asked again while the page that needs the answer is shown. Once there is a record of the whole
// run they are answered from that: in a report, and when the engine has ended.

import { useEffect, useRef, useState } from "preact/hooks";
import { answer, type Run } from "./record";

/** An answer takes milliseconds; one that takes so long will not come. */
const ANSWER_MS = 10_000;

let run: Run | null = null;

export function setRecord(record: Run): void {
  run = record;
}

export type Params = Record<string, string | number | undefined>;

/** Asks once. An answer that is no answer is an error with the server's words. */
export async function ask<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  if (run) return answer(run, path, params) as T;
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  const late = AbortSignal.timeout(ANSWER_MS);
  try {
    const response = await fetch(query ? `${path}?${query}` : path, { signal: signal ? AbortSignal.any([signal, late]) : late });
    if (!response.ok) throw new Error((await response.text()).trim() || `${path}: ${response.status}`);
    return await response.json();
  } catch (problem) {
    if (late.aborted) throw new Error(`nothing came within ${ANSWER_MS / 1000} s`);
    throw problem;
  }
}

export interface Asked<T> {
  /** The last answer; it stays while the next one is on its way. */
  answer: T | null;
  error: string | null;
  /** Asks again now. */
  again: () => void;
}

/** Asks when what is asked changes, and again so many milliseconds after each answer. */
export function useAsked<T>(path: string | null, params: Params, every: number | null): Asked<T> {
  const [answer, setAnswer] = useState<T | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [round, setRound] = useState(0);
  const asked = useRef("");
  const key = path + JSON.stringify(params);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer = 0;
    const once = async () => {
      try {
        const answer = await ask<T>(path, params, stop.signal);
        if (stop.signal.aborted) return;
        setAnswer(answer);
        setError(null);
      } catch (problem) {
        if (stop.signal.aborted) return;
        // What was shown stays; a first question without an answer says why.
        if (asked.current !== key) setAnswer(null);
        setError(problem instanceof Error ? problem.message : String(problem));
      }
      asked.current = key;
      if (every !== null) timer = window.setTimeout(once, every);
    };
    void once();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [key, every, round]);
  return { answer: path === null ? null : answer, error, again: () => setRound((round) => round + 1) };
}

/** Has the server do something. The header is one that no page of another origin can send. */
export async function act(path: string): Promise<void> {
  const answer = await fetch(path, { method: "POST", headers: { "X-Lineshaft-Action": "1" } });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${path}: ${answer.status}`);
}
