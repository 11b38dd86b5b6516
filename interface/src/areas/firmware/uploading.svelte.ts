import { address, type FieldProblem } from '../../live/api';
import { language } from '../../words/words.svelte';
import type { Release } from './shapes';

/** An image on its way to the server, which says in the end what is wrong with it, field by field. */
export class Uploading {
  state: 'idle' | 'sending' | 'failed' = $state('idle');
  /** Of the file, 0 to 1. */
  sent = $state(0);
  name = $state('');
  problem = $state('');
  fields: FieldProblem[] = $state.raw([]);

  /** The release that was made of `file`; nothing when it was refused. */
  send(file: File): Promise<Release | undefined> {
    this.state = 'sending';
    this.sent = 0;
    this.name = file.name;
    this.problem = '';
    this.fields = [];
    const request = new XMLHttpRequest();
    request.open('POST', address('/firmware'));
    request.setRequestHeader('accept', 'application/json');
    request.setRequestHeader('content-type', 'application/octet-stream');
    // fetch does not tell how much of a body was sent.
    request.upload.onprogress = (event) => (this.sent = event.total ? event.loaded / event.total : 0);
    return new Promise((resolve) => {
      request.onload = () => {
        if (request.status === 201) {
          this.state = 'idle';
          resolve(JSON.parse(request.responseText) as Release);
          return;
        }
        this.refused(request);
        resolve(undefined);
      };
      request.onerror = () => {
        this.state = 'failed';
        this.problem = language.words.unreachable;
        resolve(undefined);
      };
      request.send(file);
    });
  }

  private refused(request: XMLHttpRequest): void {
    this.state = 'failed';
    this.problem = `${request.status} ${request.statusText}`.trim();
    try {
      const told = JSON.parse(request.responseText) as { detail?: string; errors?: FieldProblem[] };
      if (told.detail) this.problem = told.detail;
      this.fields = told.errors ?? [];
    } catch {
      // A proxy in between answers with a page of its own.
    }
  }
}
