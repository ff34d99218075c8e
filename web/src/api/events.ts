// The stream of events: read in order, each once, over as many connections as it takes.
import type { Artifact, RunFailure, Worker } from "./generated";

/** One event of the server; which fields are there depends on `event`, as told in nodegraph/serve/models/__init__.py. */
export interface ServerEvent {
  event: string;
  number: number;
  time: number;
  run?: string;
  node?: string;
  input?: string;
  title?: string;
  /** Of a `hello`: the version of the server. */
  version?: string;
  priority?: number;
  attempt?: number;
  step?: number;
  total?: number;
  note?: string;
  seconds?: number;
  /** How much of the run's work is done, and the seconds that are left where that is known. */
  share?: number;
  left?: number;
  message?: string;
  artifacts?: Artifact[];
  error?: RunFailure;
  paused?: boolean;
  queued?: number;
  running?: number;
  changed?: "paused" | "resumed" | "order";
  worker?: Worker;
  name?: string;
  revision?: string;
  artifact?: string;
  deleted?: boolean;
}

export interface Handlers {
  /** The connection stands, for the first time or again, to a server of this version. */
  open(version: string): void;
  /** The connection is lost; another one is being tried. */
  closed(): void;
  /** Events are missing that the server no longer has: fetch the state again. */
  reset(): void;
  event(event: ServerEvent): void;
  preview(run: string, node: string, picture: Blob): void;
}

export interface EventStream {
  close(): void;
}

/** What comes in over one connection after another, told to the handlers in order and once. */
export class EventReader {
  /** Number of the newest event that was told; null before the first connection. */
  last: number | null = null;

  constructor(private readonly handlers: Handlers) {}

  /** Take a frame; true where it says that the connection stands. */
  take(frame: string | ArrayBuffer): boolean {
    if (typeof frame !== "string") {
      const preview = readPreview(new Uint8Array(frame));
      if (preview) this.handlers.preview(preview.run, preview.node, preview.picture);
      return false;
    }
    let stands = false;
    for (const event of JSON.parse(frame) as ServerEvent[]) {
      if (event.event === "hello") {
        stands = true;
        this.last ??= event.number;
        this.handlers.open(event.version ?? "");
      } else if (event.event === "reset") {
        this.last = event.number;
        this.handlers.reset();
      } else if (event.number > (this.last ?? 0)) {
        this.last = event.number;
        this.handlers.event(event);
      }
    }
    return stands;
  }
}

/** The binary frame of a preview; null for a frame of another kind or one that is cut short. */
export function readPreview(bytes: Uint8Array<ArrayBuffer>): { run: string; node: string; picture: Blob } | null {
  if (bytes.length < 4 || bytes[0] !== 1) return null;
  const run = 4 + bytes[1]!;
  const node = run + bytes[2]! * 256 + bytes[3]!;
  if (node >= bytes.length) return null;
  const text = new TextDecoder();
  return {
    run: text.decode(bytes.subarray(4, run)),
    node: text.decode(bytes.subarray(run, node)),
    picture: new Blob([bytes.subarray(node)], { type: "image/jpeg" }),
  };
}

const SHORTEST = 400; // milliseconds
const LONGEST = 10_000;

/** How long to wait before try number `attempt` (from 0); spread, so that many editors do not come back at once. */
export const pause = (attempt: number, chance: number = Math.random()): number =>
  Math.min(LONGEST, SHORTEST * 2 ** attempt) * (0.75 + chance / 2);

/** Listen to the server's events until closed; a lost connection is taken up again where it broke. */
export function listen(handlers: Handlers): EventStream {
  const reader = new EventReader(handlers);
  let attempt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let socket: WebSocket | null = null;

  const connect = () => {
    clearTimeout(timer);
    const after = reader.last === null ? "" : `&after=${reader.last}`;
    socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/events?previews=true${after}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (reader.take(data)) attempt = 0;
    };
    socket.onclose = () => {
      socket = null;
      handlers.closed();
      timer = setTimeout(connect, pause(attempt));
      attempt += 1;
    };
  };
  // A machine that wakes up, or a tab that is looked at again, does not wait out its pause.
  const hurry = () => {
    if (socket === null && !document.hidden) connect();
  };
  addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);
  connect();
  return {
    close() {
      removeEventListener("online", hurry);
      document.removeEventListener("visibilitychange", hurry);
      clearTimeout(timer);
      if (socket) socket.onclose = null;
      socket?.close();
    },
  };
}
