// The server as the editor sees it: one typed method for each route, and one shape of failure.
import { refuseInexact } from "../lib/exact";
import { listen, type EventStream, type Handlers } from "./events";
import type {
  ApiError, ApiProblem, Artifact, ChangeRun, CheckWorkflow, Cleared, EmptiedTrash, FileKinds, Gallery, Health, ImportedWorkflow, MadeGrid, MakeGrid,
  ExportedToComfyui,
  ExportWorkflow,
  MoveRun, Nodes, OpenedTemplate, OpenedWorkflow, PlannedWorkflow, PlanWorkflow, Problems, QueueState, Run, RunDetails,
  Runs, RunWorkflow, SavedWorkflow, SaveWorkflow, SessionOpened, StoredWorkflows, SubmitRun, System, Templates, Trash,
  TrashedWorkflow, Upload,
} from "./generated";

export type { EventStream, Handlers, ServerEvent } from "./events";

type Code = ApiError["code"] | "offline";

/** The server said no, with what is wrong and where; `status` 0 and code `offline` where it did not answer. */
export class ApiFailure extends Error {
  override name = "ApiFailure";

  constructor(
    readonly status: number,
    readonly code: Code,
    message: string,
    readonly problems: ApiProblem[] = [],
    /** Seconds after which to ask again, where the server says so. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** A page of a long list: at most `limit` entries that follow `before`. */
export interface Page {
  limit?: number;
  before?: string | null;
  status?: Run["status"];
}

export class Client {
  health = () => this.ask<Health>("GET", "/health");
  system = () => this.ask<System>("GET", "/api/system");
  /** Swap the server's token for a session cookie. */
  signIn = (token: string) => this.ask<SessionOpened>("POST", "/api/session", { token });

  nodes = () => this.ask<Nodes>("GET", "/api/nodes");
  models = () => this.ask<FileKinds>("GET", "/api/models");

  workflows = () => this.ask<StoredWorkflows>("GET", "/api/workflows");
  workflow = (name: string) => this.askDocument<OpenedWorkflow>("GET", `/api/workflows/${encodeURIComponent(name)}`);
  saveWorkflow = (name: string, body: SaveWorkflow) =>
    this.ask<SavedWorkflow>("PUT", `/api/workflows/${encodeURIComponent(name)}`, body);
  renameWorkflow = (name: string, other: string) =>
    this.ask<SavedWorkflow>("POST", `/api/workflows/${encodeURIComponent(name)}/rename`, { name: other });
  deleteWorkflow = (name: string) => this.ask<TrashedWorkflow>("DELETE", `/api/workflows/${encodeURIComponent(name)}`);
  trash = () => this.ask<Trash>("GET", "/api/trash");
  emptyTrash = () => this.ask<EmptiedTrash>("DELETE", "/api/trash");
  /** Artifacts in the trash, what was deleted last first. */
  deletedArtifacts = (page: Page = {}) => this.ask<Gallery>("GET", `/api/trash/artifacts${query(page)}`);
  restore = (id: string) => this.ask<SavedWorkflow>("POST", `/api/trash/${encodeURIComponent(id)}/restore`);
  importFile = (file: Blob) => this.askDocument<ImportedWorkflow>("POST", "/api/import", file);

  exportComfyui = (body: ExportWorkflow) => this.ask<ExportedToComfyui>("POST", "/api/export/comfyui", body);

  templates = () => this.ask<Templates>("GET", "/api/templates");
  template = (name: string) =>
    this.askDocument<OpenedTemplate>("GET", `/api/templates/${name.split("/").map(encodeURIComponent).join("/")}`);

  check = (body: CheckWorkflow) => this.ask<Problems>("POST", "/api/check", body);
  grid = (body: MakeGrid) => this.askDocument<MadeGrid>("POST", "/api/grid", body);
  plan = (body: PlanWorkflow) => this.ask<PlannedWorkflow>("POST", "/api/plan", body);

  submit = (body: SubmitRun) => this.ask<Run>("POST", "/api/runs", body);
  runs = (page: Page = {}) => this.ask<Runs>("GET", `/api/runs${query(page)}`);
  run = (id: string) => this.ask<RunDetails>("GET", `/api/runs/${id}`);
  runWorkflow = (id: string) => this.askDocument<RunWorkflow>("GET", `/api/runs/${id}/workflow`);
  cancel = (id: string) => this.ask<Run>("POST", `/api/runs/${id}/cancel`);
  changeRun = (id: string, body: ChangeRun) => this.ask<Run>("PATCH", `/api/runs/${id}`, body);
  moveRun = (id: string, before: MoveRun["before"]) => this.ask<Run>("POST", `/api/runs/${id}/move`, { before });
  log = async (id: string): Promise<string> => (await this.fetch("GET", `/api/runs/${id}/log`)).text();

  queue = () => this.ask<QueueState>("GET", "/api/queue");
  pause = () => this.ask<QueueState>("POST", "/api/queue/pause");
  resume = () => this.ask<QueueState>("POST", "/api/queue/resume");
  clearQueue = () => this.ask<Cleared>("POST", "/api/queue/clear");

  gallery = (page: Page = {}) => this.ask<Gallery>("GET", `/api/gallery${query(page)}`);
  deleteArtifact = (id: string) => this.ask<Artifact>("DELETE", `/api/artifacts/${id}`);
  restoreArtifact = (id: string) => this.ask<Artifact>("POST", `/api/artifacts/${id}/restore`);
  /** What made a picture, and its receipt. */
  artifactWorkflow = (id: string) => this.askDocument<ImportedWorkflow>("GET", `/api/artifacts/${id}/workflow`);

  upload = (file: Blob, name: string) =>
    this.ask<Upload>("POST", `/api/uploads?name=${encodeURIComponent(name)}`, file);

  events(handlers: Handlers): EventStream {
    return listen(handlers);
  }

  private async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    return (await this.fetch(method, path, body)).json() as Promise<T>;
  }

  /** An answer with a document in it, whose numbers hold or are refused. */
  private async askDocument<T>(method: string, path: string, body?: unknown): Promise<T> {
    return JSON.parse(await (await this.fetch(method, path, body)).text(), refuseInexact) as T;
  }

  private async fetch(method: string, path: string, body?: unknown): Promise<Response> {
    const raw = body instanceof Blob;
    const given = body !== undefined;
    const response = await fetch(path, {
      method,
      ...(given ? { body: raw ? body : JSON.stringify(body) } : {}),
      headers: given ? { "Content-Type": raw ? body.type || "application/json" : "application/json" } : {},
    }).catch((error: unknown) => {
      throw new ApiFailure(0, "offline", error instanceof Error ? error.message : String(error));
    });
    if (response.ok) return response;
    const error = (await response.json().catch(() => null)) as ApiError | null;
    const wait = Number(response.headers.get("Retry-After") ?? Number.NaN);
    throw new ApiFailure(
      response.status, error?.code ?? "server_error", error?.message ?? `${response.status} ${response.statusText}`,
      error?.problems ?? [], Number.isFinite(wait) ? wait : null,
    );
  }
}

/** The path of an input picture; its thumbnail where a size is given. */
export const uploadPath = (name: string, size?: number): string =>
  `/api/uploads/${encodeURIComponent(name)}${size === undefined ? "" : `?size=${size}`}`;

function query(page: Page): string {
  const given = Object.entries(page).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}` : "";
}
