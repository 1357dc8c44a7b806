/** A virtual machine monitor that benchmarks plug devices into: ours or QEMU, a process each. @module */
import { createInterface } from 'node:readline';

/** What is asked of a monitor, one line of JSON each. */
export type VmmRequest =
  | { readonly op: 'map'; readonly count: number }
  /** `messages`: without descriptors, which only ours can leave out. */
  | { readonly op: 'plug'; readonly socket: string; readonly messages?: boolean }
  | { readonly op: 'sync'; readonly count: number }
  | { readonly op: 'unplug' }
  | { readonly op: 'pipeline'; readonly socket: string; readonly count: number; readonly messages?: boolean };

/** How long things took, in nanoseconds. */
export interface VmmAnswer {
  /** Elapsed time of the whole: of one page where `count` of them were asked for one by one, their median. */
  readonly ns: number;
  /** Live sync of QEMU: a register write that does nothing, which is what the way to QEMU and back takes. */
  readonly emptyNs?: number;
  /** Why it was not done. */
  readonly error?: string;
}

/** A monitor with a guest and room for one device. */
export interface Vmm {
  /** The guest maps more, until there are `count` mappings. No device is plugged in. */
  map(count: number): Promise<void>;
  /** Connects to the server at `socket` and plugs it in, all mappings replayed. Nanoseconds. */
  plug(socket: string, messages: boolean): Promise<number>;
  /** The guest maps `count` pages, each invalidated by itself, and unmaps them; nanoseconds of mapping each. */
  sync(count: number): Promise<Pick<VmmAnswer, 'ns' | 'emptyNs'>>;
  /** Takes the device out and waits until the connection is over. */
  unplug(): Promise<void>;
  /** Sends `count` mappings without a guest, as fast as the client can. Nanoseconds. */
  pipeline?(socket: string, count: number, messages: boolean): Promise<number>;
}

/** Answers the requests on standard input, and ends the process with it. */
export async function serveVmm(vmm: Vmm): Promise<never> {
  // Whatever is waited for then: who asked is gone.
  process.stdin.once('end', () => process.exit(0));
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as VmmRequest;
    const answer = await obey(vmm, request).catch((error: unknown) => ({ ns: 0, error: String(error) }));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}

async function obey(vmm: Vmm, request: VmmRequest): Promise<VmmAnswer> {
  switch (request.op) {
    case 'map':
      await vmm.map(request.count);
      return { ns: 0 };
    case 'plug':
      return { ns: await vmm.plug(request.socket, request.messages ?? false) };
    case 'sync':
      return vmm.sync(request.count);
    case 'unplug':
      await vmm.unplug();
      return { ns: 0 };
    case 'pipeline':
      if (vmm.pipeline === undefined) throw new Error('this monitor has no client of its own');
      return { ns: await vmm.pipeline(request.socket, request.count, request.messages ?? false) };
  }
}

/** Nanoseconds since the process began. */
export function nanoseconds(): number {
  return performance.now() * 1e6;
}

/** The middle of an odd number of values, or one of the two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
