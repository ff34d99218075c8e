// Drafts of all open tabs in IndexedDB: nothing is lost by a crash, a reload or a closed window.
import { keepText, kept } from "../i18n/kept";
import type { Draft } from "./tab.svelte";

const DRAFTS = "drafts";
const SESSIONS = "sessions";

/** Which tabs are open, in order, and which one is in front. */
export interface Session {
  tabs: string[];
  active: string | null;
}

let opening: Promise<IDBDatabase> | null = null;

function database(): Promise<IDBDatabase> {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("nodegraph", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(DRAFTS, { keyPath: "id" });
      request.result.createObjectStore(SESSIONS);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error as DOMException);
  });
  return opening;
}

function done(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error as DOMException);
  });
}

const result = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error as DOMException);
  });

/**
 * The number of this window's session. Each window of a browser has its own, held by a lock until it closes, so that
 * two windows never write over each other's drafts; the next window takes the first one that is free.
 */
export async function claimSession(): Promise<number> {
  if (!navigator.locks) return 0;
  for (let slot = 0; ; slot += 1) {
    const held = await new Promise<boolean>((resolve) => {
      void navigator.locks.request(`nodegraph-session-${slot}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        return lock && new Promise<void>(() => {});
      }).catch(() => resolve(true)); // where a browser keeps nothing, it locks nothing either
    });
    if (held) return slot;
  }
}

const late = (slot: number): string => `nodegraph.late.${slot}`;

/** Keep drafts before this returns, for a page that goes away and may take unfinished writes to the database with it. */
export function keepNow(slot: number, drafts: Draft[], session: Session): void {
  // Where that is more than this store takes, what the database has by now must do.
  keepText(late(slot), JSON.stringify({ drafts, session }));
}

/** What a page that went away kept last is newer than the database. It is given back where that does not take it. */
async function takeLate(slot: number): Promise<Recalled | null> {
  let found: { drafts: Draft[]; session: Session };
  try {
    found = JSON.parse(kept(late(slot)) ?? "null") as typeof found;
    if (!found.drafts.every((draft) => typeof draft.id === "string")) throw new TypeError("a draft has an id");
  } catch {
    keepText(late(slot), null);
    return null;
  }
  try {
    await keep(slot, found.drafts, [], found.session);
    return null;
  } catch {
    return { drafts: found.drafts, active: found.session.active };
  }
}

/** Keep drafts and the order of the tabs, all or nothing. */
export async function keep(slot: number, drafts: Draft[], gone: string[], session: Session): Promise<void> {
  const transaction = (await database()).transaction([DRAFTS, SESSIONS], "readwrite");
  const store = transaction.objectStore(DRAFTS);
  for (const draft of drafts) store.put(draft);
  for (const id of gone) store.delete(id);
  transaction.objectStore(SESSIONS).put(session, slot);
  await done(transaction);
  keepText(late(slot), null);
}

export interface Recalled {
  drafts: Draft[];
  active: string | null;
}

/** The drafts of a session, in the order of their tabs. */
export async function recall(slot: number): Promise<Recalled> {
  const late = await takeLate(slot);
  if (late) return late;
  const transaction = (await database()).transaction([DRAFTS, SESSIONS], "readonly");
  const session = (await result(transaction.objectStore(SESSIONS).get(slot))) as Session | undefined;
  const ids = session?.tabs ?? [];
  const drafts = await Promise.all(ids.map((id) => result(transaction.objectStore(DRAFTS).get(id))));
  return { drafts: drafts.filter(Boolean) as Draft[], active: session?.active ?? null };
}
