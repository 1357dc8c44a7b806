import { type Attempt, joinAttempts } from './attempt.ts';
import { FlatView, type MemorySection, sameSection } from './flat-view.ts';
import type { MemoryListener } from './memory-listener.ts';
import { type PageCursor } from './ram-block.ts';
import type { MemoryRegion } from './region.ts';
import type { MemoryTopology } from './topology.ts';

/** What a device, or a guest, sees: a region tree from its root, flattened, with listeners. */
export class AddressSpace {
  readonly name: string;
  readonly root: MemoryRegion;
  readonly topology: MemoryTopology;
  #view: FlatView;
  /** Each with a token of its registration: one that left and came back during a commit has been told anew. */
  readonly #listeners: Map<MemoryListener, object> = new Map();

  /** Watches `root` until `dispose`. */
  constructor(name: string, root: MemoryRegion, topology: MemoryTopology) {
    this.name = name;
    this.root = root;
    this.topology = topology;
    this.#view = new FlatView(root);
    root.addDependent(this);
  }

  /** The current flattening; replaced, never changed, by a commit. */
  get view(): FlatView {
    return this.#view;
  }

  /**
   * Tells `listener` of every section that exists, then of every difference. If it throws meanwhile it is not
   * registered. Throws when it is registered already.
   */
  addListener(listener: MemoryListener): void {
    if (this.#listeners.has(listener))
      throw new Error(`the listener is registered with ${this.name} already`);
    const token = {};
    this.#listeners.set(listener, token);
    // What the listener changes meanwhile is committed after it has heard of the whole view.
    this.topology.transaction(() => {
      try {
        for (const section of this.#view.sections) {
          listener.sectionAdded(section);
          if (this.#listeners.get(listener) !== token) return;
        }
        listener.committed?.();
      } catch (error) {
        if (this.#listeners.get(listener) === token) this.#listeners.delete(listener);
        throw error;
      }
    });
  }

  /** The listener hears nothing more; it is not told of sections as removed. */
  removeListener(listener: MemoryListener): void {
    this.#listeners.delete(listener);
  }

  /** Confirmed when every listener has: see {@link MemoryListener.barrier}. */
  barrier(): void | Promise<void> {
    const pending: Promise<void>[] = [];
    for (const listener of this.#listeners.keys()) {
      const result = listener.barrier?.();
      if (result !== undefined) pending.push(result);
    }
    if (pending.length > 0) return Promise.all(pending).then(() => undefined);
  }

  /** Opens an attempt with every listener that there is now. One at a time: whoever decides what is shown here opens it. */
  attempt(): Attempt {
    const parts: Attempt[] = [];
    for (const listener of this.#listeners.keys()) {
      const part = listener.attempt?.();
      if (part !== undefined) parts.push(part);
    }
    return joinAttempts(parts);
  }

  /** Points `cursor` at a page of RAM: see {@link FlatView.locate}. */
  locate(page: number, cursor: PageCursor, forWrite = false): boolean {
    return this.#view.locate(page, cursor, forWrite);
  }

  /** Ends the watch; no listener may be left. */
  dispose(): void {
    if (this.#listeners.size > 0) throw new Error(`address space ${this.name} still has listeners`);
    this.root.removeDependent(this);
  }

  /** Called by the tree below. */
  regionChanged(): void {
    this.topology.markDirty(this);
  }

  /** Called by the topology when a transaction ends. */
  commit(): unknown[] {
    const before = this.#view;
    const after = new FlatView(this.root);
    const { removed, added } = difference(before.sections, after.sections);
    if (removed.length === 0 && added.length === 0) return [];
    this.#view = after;
    const errors: unknown[] = [];
    // A listener that registers meanwhile has been told of the new view in full.
    const listeners = [...this.#listeners];
    const tell = (call: (listener: MemoryListener) => void): void => {
      for (const [listener, token] of listeners) {
        if (this.#listeners.get(listener) !== token) continue;
        try {
          call(listener);
        } catch (error) {
          errors.push(error);
        }
      }
    };
    for (const section of removed.reverse()) tell((listener) => listener.sectionRemoved(section));
    for (const section of added) tell((listener) => listener.sectionAdded(section));
    tell((listener) => listener.committed?.());
    return errors;
  }
}

function difference(
  before: readonly MemorySection[],
  after: readonly MemorySection[],
): { removed: MemorySection[]; added: MemorySection[] } {
  const removed: MemorySection[] = [];
  const added: MemorySection[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    const old = before[i];
    const now = after[j];
    if (old !== undefined && now !== undefined && sameSection(old, now)) {
      i++;
      j++;
    } else if (old !== undefined && (now === undefined || old.start <= now.start)) {
      removed.push(old);
      i++;
    } else {
      added.push(now as MemorySection);
      j++;
    }
  }
  return { removed, added };
}
