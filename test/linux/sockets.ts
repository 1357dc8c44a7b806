/** What the tests of the linux room share. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { connect, type ConnectOptions, linuxPlatform, listen } from '../../src/linux/index.ts';
import {
  type Channel,
  type ChannelListener,
  type Descriptor,
  releaseAll,
} from '../../src/vfio-user/index.ts';

const { why } = linuxPlatform();
if (why !== undefined) console.warn(`tests that need descriptors are skipped: ${why}`);

/** Whether descriptors cannot be passed here. Tests that need that are skipped; the reason is printed. */
export const noKoffi: boolean = why !== undefined;

let folder: string | undefined;

afterEach(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
});

/** A path in a folder that is removed after the test. */
export function scratchPath(name = 'socket'): string {
  folder ??= mkdtempSync(join(tmpdir(), 'viommu-'));
  return join(folder, name);
}

/** Remembers everything that a channel tells. Keeps descriptors until `release`. */
export class Heard implements ChannelListener {
  /** One element a `received`. */
  readonly reads: { bytes: Uint8Array; descriptors: readonly Descriptor[] }[] = [];
  readonly closes: (Error | undefined)[] = [];
  bytes = 0;
  idles = 0;
  drains = 0;
  /** Called with each read. */
  onReceived: ((bytes: Uint8Array) => void) | undefined;
  #wakes: (() => void)[] = [];

  received(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.reads.push({ bytes: bytes.slice(), descriptors });
    this.bytes += bytes.length;
    this.onReceived?.(bytes);
    this.#wake();
  }

  idle(): void {
    this.idles++;
    this.#wake();
  }

  drained(): void {
    this.drains++;
    this.#wake();
  }

  closed(error?: Error): void {
    this.closes.push(error);
    this.#wake();
  }

  get descriptors(): readonly Descriptor[] {
    return this.reads.flatMap((read) => read.descriptors);
  }

  /** All bytes in one piece. */
  whole(): Uint8Array {
    return Buffer.concat(this.reads.map((read) => read.bytes));
  }

  release(): void {
    releaseAll(this.descriptors);
  }

  /** Resolves when `condition` holds after something was heard. */
  async until(condition: (heard: this) => boolean): Promise<void> {
    while (!condition(this)) await new Promise<void>((resolve) => this.#wakes.push(resolve));
  }

  #wake(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }
}

/** Two ends of one connection over a socket file. */
export interface Ends {
  readonly near: Channel;
  readonly far: Channel;
}

/** Connects to a new socket file; the listener is closed again at once. */
export async function connectedEnds(options: ConnectOptions = {}): Promise<Ends> {
  const path = scratchPath();
  let accept!: (channel: Channel) => void;
  const accepted = new Promise<Channel>((resolve) => {
    accept = resolve;
  });
  const listener = await listen(path, accept, options);
  const near = await connect(path, options);
  const far = await accepted;
  await listener.close();
  return { near, far };
}

/** Lets the event loop turn a few times, for what must not happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** `length` bytes that differ from their neighbours, beginning at `seed`. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = ((seed + i) * 2_654_435_761) >>> 24;
  return bytes;
}

/** Two ends once and gone, so that everything that a process opens for good is open before descriptors are counted. */
export async function warmUp(): Promise<void> {
  const { near, far } = await connectedEnds();
  near.close(true);
  far.close(true);
}
