import { address, type Query } from '../../live/api';
import { language } from '../../words/words.svelte';

export interface Report {
  done: boolean;
  lines: number;
  readings: number;
  points: number;
  repeated: number;
  refused: number;
  faults: { line: number; field: string; reason: string; detail: string }[];
  created: string[];
  unknown: Record<string, number>;
  notes: string[];
}

/** A file on its way into history: how much of it was sent, then what became of it so far. */
export class Importing {
  state: 'idle' | 'sending' | 'working' | 'done' | 'failed' = $state('idle');
  /** Of the file, 0 to 1. */
  sent = $state(0);
  report: Report | null = $state.raw(null);
  problem = $state('');
  private request: XMLHttpRequest | null = null;
  private read = 0;

  /** `stopped` is what to say when the answer ends before its end. */
  begin(file: File, query: Query, names: string[], stopped: string): void {
    const request = new XMLHttpRequest();
    this.request = request;
    this.state = 'sending';
    this.sent = this.read = 0;
    this.report = null;
    this.problem = '';
    const more = names.map((name) => `&names=${encodeURIComponent(name)}`).join('');
    request.open('POST', address('/imports', query) + more);
    request.setRequestHeader('accept', 'application/x-ndjson');
    request.setRequestHeader('content-type', 'application/octet-stream');
    // fetch does not tell how much of a body was sent.
    request.upload.onprogress = (event) => (this.sent = event.total ? event.loaded / event.total : 0);
    request.upload.onload = () => (this.state = 'working');
    request.onprogress = () => {
      if (request.status === 200) this.follow(request.responseText);
    };
    request.onload = () => {
      if (request.status === 200) this.follow(request.responseText);
      if (this.report?.done) this.state = 'done';
      else this.fail(request, stopped);
    };
    request.onerror = () => {
      this.problem = language.words.unreachable;
      this.state = 'failed';
    };
    request.send(file);
  }

  stop(): void {
    this.request?.abort();
    this.state = 'idle';
  }

  private follow(text: string): void {
    const end = text.lastIndexOf('\n');
    if (end < this.read) return;
    const last = text.slice(this.read, end).trim().split('\n').at(-1);
    this.read = end + 1;
    if (!last) return;
    const told = JSON.parse(last) as Partial<Report> & { detail?: string };
    // An import that cannot go on ends with the reason instead of a report.
    if (told.points === undefined) this.problem = told.detail ?? last;
    else this.report = told as Report;
  }

  private fail(request: XMLHttpRequest, stopped: string): void {
    this.state = 'failed';
    if (this.problem) return;
    this.problem = stopped;
    try {
      const told = JSON.parse(request.responseText) as { detail?: string };
      if (told.detail) this.problem = told.detail;
    } catch {
      // No answer of the API.
    }
  }
}
