/** QEMU's qtest protocol: memory and ports of a machine whose processors never run. @module */
import type { Duplex } from 'node:stream';
import { LinePeer } from './line-peer.ts';

interface Waiting {
  readonly command: string;
  readonly resolve: (values: string) => void;
  readonly reject: (error: Error) => void;
}

/** Widths of an access: 1, 2, 4 or 8 bytes. */
export type AccessBytes = 1 | 2 | 4 | 8;

const LETTER: Readonly<Record<AccessBytes, string>> = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' };

/** Commands may be sent without waiting for earlier ones; QEMU carries them out in order. */
export class QtestClient {
  readonly #peer: LinePeer;
  readonly #waiting: Waiting[] = [];
  #ended: string | undefined;

  /** `obituary` says why QEMU is gone, once its pipe has ended. */
  constructor(stream: Duplex, obituary: () => string) {
    this.#peer = new LinePeer(
      stream,
      (line) => this.#heard(line),
      () => {
        this.#ended = obituary();
        for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#gone(waiting.command));
      },
    );
  }

  /** Sends one command and gives what follows OK in the answer. */
  command(command: string): Promise<string> {
    if (this.#ended !== undefined) return Promise.reject(this.#gone(command));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject });
      this.#peer.send(command);
    });
  }

  /** Reads memory as the processor would. */
  async read(address: bigint, bytes: AccessBytes): Promise<bigint> {
    return BigInt(await this.command(`read${LETTER[bytes]} 0x${address.toString(16)}`));
  }

  /** Writes memory as the processor would. */
  async write(address: bigint, value: bigint, bytes: AccessBytes): Promise<void> {
    await this.command(`write${LETTER[bytes]} 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  /** Copies memory out. Registers must be read with {@link read}, at their own width. */
  async readBytes(address: bigint, bytes: number): Promise<Uint8Array> {
    const hex = await this.command(`read 0x${address.toString(16)} 0x${bytes.toString(16)}`);
    return Uint8Array.from(Buffer.from(hex.slice(2), 'hex'));
  }

  /** Copies memory in. */
  async writeBytes(address: bigint, bytes: Uint8Array): Promise<void> {
    const hex = Buffer.from(bytes).toString('hex');
    await this.command(`write 0x${address.toString(16)} 0x${bytes.length.toString(16)} 0x${hex}`);
  }

  async inPort(port: number, bytes: 1 | 2 | 4): Promise<number> {
    return Number(await this.command(`in${LETTER[bytes]} 0x${port.toString(16)}`));
  }

  async outPort(port: number, value: number, bytes: 1 | 2 | 4): Promise<void> {
    await this.command(`out${LETTER[bytes]} 0x${port.toString(16)} 0x${(value >>> 0).toString(16)}`);
  }

  destroy(): void {
    this.#peer.destroy();
  }

  #heard(line: string): void {
    // Lines about interrupt pins come whenever one moves.
    if (line.startsWith('IRQ ') || line === '') return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    if (line === 'OK' || line.startsWith('OK ')) waiting.resolve(line.slice(3));
    else waiting.reject(new Error(`qtest refused '${waiting.command}': ${line}`));
  }

  #gone(command: string): Error {
    return new Error(`qtest command '${command}' has no answer: ${this.#ended}`);
  }
}
