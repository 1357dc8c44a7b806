import type { Access } from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';
import type { SharedFiles } from '../platform.ts';

/** A file behind mappings. Descriptors with which mappings allow different access count as different files: they may be opened differently. */
export interface HeldFile {
  readonly key: string;
  /** A descriptor of it while mappings need it; missing when descriptors are not kept. */
  readonly descriptor: Descriptor | undefined;
}

interface Entry extends HeldFile {
  uses: number;
}

/** Descriptors kept at one time: a process has few, and what has no kept descriptor is only not merged. */
const MOST_DESCRIPTORS = 64;

/** Recognises the files behind descriptors and, where asked to, keeps one descriptor of each while mappings use it. */
export class HeldFiles {
  readonly #files: SharedFiles | undefined;
  readonly #keep: boolean;
  readonly #entries: Map<string, Entry> = new Map();
  #kept = 0;

  /** Without `files` nothing is recognised. `keep`: hold a descriptor of each file. */
  constructor(files: SharedFiles | undefined, keep: boolean) {
    this.#files = files;
    this.#keep = keep;
  }

  /** The file behind a descriptor, which stays the caller's, with one more use; undefined when it cannot be recognised. */
  use(descriptor: Descriptor, access: Access): HeldFile | undefined {
    const identity = this.#files?.identify(descriptor);
    if (identity === undefined) return undefined;
    const key = `${access} ${identity}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const keeps = this.#keep && this.#kept < MOST_DESCRIPTORS;
      entry = { key, descriptor: keeps ? descriptor.hold() : undefined, uses: 0 };
      if (keeps) this.#kept++;
      this.#entries.set(key, entry);
    }
    entry.uses++;
    return entry;
  }

  /** One use less. */
  done(file: HeldFile | undefined): void {
    const entry = file as Entry | undefined;
    if (entry === undefined || --entry.uses > 0 || this.#entries.get(entry.key) !== entry) return;
    this.#forget(entry);
  }

  /** Lets go of everything. */
  clear(): void {
    for (const entry of this.#entries.values()) this.#forget(entry);
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.key);
    if (entry.descriptor === undefined) return;
    this.#kept--;
    entry.descriptor.release();
  }
}
