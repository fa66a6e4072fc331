/** The server that serves this page with `impasto web`, if it does: its optimiser, over the HTTP interface. */

export interface Job {
  id: string;
  status: "queued" | "running" | "done" | "failed";
  position?: number;
  fraction?: number;
  eta?: number;
  preview?: string;
  picture?: string;
  before?: string;
  error?: string;
}

/** Lost connections in a row after which a job is no longer followed. */
const MOST_FAILURES = 3;

export interface Limits {
  size: number;
  upload: number;
  pixels: number;
}

/** Where the server's interface is; null on a host that only has the page's files. */
export function serverAddress(): string | null {
  return document.querySelector<HTMLMetaElement>('meta[name="impasto-api"]')?.content ?? null;
}

export class Server {
  constructor(private readonly address: string) {}

  limits(): Promise<Limits> {
    return this.json("/limits");
  }

  jobs(): Promise<Job[]> {
    return this.json("/jobs");
  }

  /** Begin to optimise a photo in styles of the gallery. */
  begin(photo: Blob, name: string, styles: string[], options: object): Promise<Job> {
    const form = new FormData();
    form.append("photo", photo, name);
    form.append("styles", JSON.stringify(styles));
    form.append("options", JSON.stringify(options));
    return this.json("/jobs", { method: "POST", body: form });
  }

  stop(job: string): Promise<Job> {
    return this.json(`/jobs/${job}`, { method: "DELETE" });
  }

  /** A picture of a job. */
  async file(address: string): Promise<Blob> {
    const response = await this.fetch(address);
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    return response.blob();
  }

  /** The states of a job until it is over; after a lost connection the browser connects again, some times. */
  follow(job: string, show: (state: Job) => void): Promise<Job> {
    return new Promise((resolve, reject) => {
      const events = new EventSource(`${this.address}/jobs/${job}/events`);
      let failures = 0;
      events.onmessage = ({ data }) => {
        failures = 0;
        const state = JSON.parse(data) as Job;
        show(state);
        if (state.status !== "done" && state.status !== "failed") return;
        events.close();
        if (state.status === "done") resolve(state);
        else reject(new Error(state.error ?? "The server could not paint this."));
      };
      events.onerror = () => {
        if (events.readyState !== EventSource.CLOSED && ++failures < MOST_FAILURES) return;
        events.close();
        reject(new Error("The connection to the server is lost. Open the page again: the painting continues there."));
      };
    });
  }

  private async json<T>(path: string, init?: RequestInit): Promise<T> {
    const response = await this.fetch(this.address + path, init);
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
    return answer;
  }

  private fetch(address: string, init?: RequestInit): Promise<Response> {
    return fetch(address, init).catch(() => {
      throw new Error("The server does not answer.");
    });
  }
}
