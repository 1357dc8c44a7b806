/** The only importer of koffi, the optional package through which the kernel is called. @module */
import { createRequire } from 'node:module';

/** A descriptor being watched by the event loop. Must stay referenced, and be closed before its descriptor. */
export interface PollHandle {
  start(events: PollEvents, callback: PollCallback): void;
  stop(): void;
  close(): void;
}

/** What to watch for. */
export interface PollEvents {
  readonly readable: boolean;
  readonly writable: boolean;
  /** That a socket's peer will send nothing more, whatever is still to be read. */
  readonly disconnect: boolean;
}

/** `status` is 0, or negative when the loop has stopped watching because of an error. Must not throw. */
export type PollCallback = (status: number, events: PollEvents) => void;

/** The part of koffi that is used. Pointers are bigint. */
export interface Koffi {
  load(path: null): { func(definition: string): (...parameters: never[]) => unknown };
  alloc(type: string, length: number): bigint;
  /** Memory as an ArrayBuffer that can never be detached. More than 4 GiB ends Node 20. */
  view(pointer: bigint, length: number): ArrayBuffer;
  sizeof(type: string): number;
  /** The last call's; to be read at once. */
  errno(): number;
  readonly node: { poll(fd: number, events: PollEvents, callback: PollCallback): PollHandle };
}

/** koffi, or why there is none. */
export type LoadedKoffi =
  | { readonly koffi: Koffi; readonly why?: undefined }
  | { readonly koffi?: undefined; readonly why: string };

let loaded: LoadedKoffi | undefined;

/**
 * Loads koffi at the first call. The environment variable `VIOMMU_NO_KOFFI=1` makes it absent.
 */
export function loadKoffi(): LoadedKoffi {
  if (process.env['VIOMMU_NO_KOFFI'] === '1') return { why: 'VIOMMU_NO_KOFFI=1 is set in the environment' };
  loaded ??= load();
  return loaded;
}

function load(): LoadedKoffi {
  if (process.platform !== 'linux')
    return { why: `descriptors are passed on Linux only, not on ${process.platform}` };
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    if (koffi.sizeof('void *') !== 8) return { why: `a 64-bit Node is needed, not ${process.arch}` };
    return { koffi };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n', 1)[0] : String(error);
    return { why: `the optional package koffi cannot be loaded (${reason}); npm install koffi adds it` };
  }
}
