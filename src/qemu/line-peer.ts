import type { Duplex } from 'node:stream';

/** A peer that is spoken to in lines, over a pipe that a child process was given. */
export class LinePeer {
  readonly #stream: Duplex;
  readonly #heard: (line: string) => void;
  #rest = '';

  /** `heard` takes each line, without its end; `ended` is called once when nothing more can come. */
  constructor(stream: Duplex, heard: (line: string) => void, ended: () => void) {
    this.#stream = stream;
    this.#heard = heard;
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => this.#received(text));
    // A pipe of a process that was killed ends with an error or without; both are the end.
    stream.on('error', () => undefined);
    stream.once('close', ended);
  }

  send(line: string): void {
    this.#stream.write(`${line}\n`);
  }

  destroy(): void {
    this.#stream.destroy();
  }

  #received(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#heard(line.trimEnd());
  }
}
