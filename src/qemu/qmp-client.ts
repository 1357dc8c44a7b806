/** QEMU's machine protocol (QMP): commands with JSON arguments, and events. @module */
import type { Duplex } from 'node:stream';
import { LinePeer } from './line-peer.ts';

/** What QEMU says unasked. */
export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** QEMU refused a command; the message is QEMU's description. */
export class QmpError extends Error {
  override readonly name: string = 'QmpError';
}

interface Answer extends Partial<QmpEvent> {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly QMP?: unknown;
}

interface Waiting {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Waits for an event. */
interface Ear {
  readonly name: string;
  readonly resolve: (event: QmpEvent) => void;
  readonly reject: (error: Error) => void;
}

/** One monitor. Commands are answered in order. */
export class QmpClient {
  /** Every event so far. */
  readonly events: QmpEvent[] = [];
  readonly #peer: LinePeer;
  readonly #waiting: Waiting[] = [];
  readonly #ears: Set<Ear> = new Set();
  #ended: string | undefined;

  /** `obituary` says why QEMU is gone, once its pipe has ended. */
  constructor(stream: Duplex, obituary: () => string) {
    this.#peer = new LinePeer(
      stream,
      (line) => this.#heard(line),
      () => {
        this.#ended = obituary();
        for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#gone(waiting.command));
        for (const ear of this.#ears) ear.reject(this.#gone(`event ${ear.name}`));
        this.#ears.clear();
      },
    );
  }

  /** Runs a command. Rejects with QmpError when QEMU refuses it, with Error when QEMU is gone. */
  execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#gone(command));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject });
      this.#peer.send(JSON.stringify({ execute: command, arguments: args }));
    });
  }

  /** Runs a command of the human monitor and gives what it prints. */
  async human(commandLine: string): Promise<string> {
    const text = await this.execute('human-monitor-command', { 'command-line': commandLine });
    return String(text).replaceAll('\r\n', '\n');
  }

  /** Resolves with the next event of that name. Rejects when QEMU is gone. */
  next(name: string): Promise<QmpEvent> {
    if (this.#ended !== undefined) return Promise.reject(this.#gone(`event ${name}`));
    return new Promise((resolve, reject) => {
      this.#ears.add({ name, resolve, reject });
    });
  }

  destroy(): void {
    this.#peer.destroy();
  }

  #heard(line: string): void {
    if (line === '') return;
    const answer = JSON.parse(line) as Answer;
    if (answer.QMP !== undefined) return;
    if (answer.event !== undefined) {
      const event = answer as QmpEvent;
      this.events.push(event);
      for (const ear of this.#ears) {
        if (ear.name !== event.event) continue;
        this.#ears.delete(ear);
        ear.resolve(event);
      }
      return;
    }
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    if (answer.error === undefined) waiting.resolve(answer.return);
    else waiting.reject(new QmpError(answer.error.desc));
  }

  #gone(what: string): Error {
    return new Error(`QMP has no answer for ${what}: ${this.#ended}`);
  }
}
