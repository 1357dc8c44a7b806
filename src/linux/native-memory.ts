import type { Libc } from './libc.ts';

/** Memory outside the JavaScript heap, whose address never changes. It is never freed: make few, and share them. */
export class NativeMemory {
  readonly address: bigint;
  readonly buffer: ArrayBuffer;

  constructor(libc: Libc, bytes: number) {
    // Counted in 64-bit words, so that the structures in it are aligned.
    this.address = libc.koffi.alloc('uint64_t', Math.ceil(bytes / 8));
    this.buffer = libc.koffi.view(this.address, bytes);
  }
}
