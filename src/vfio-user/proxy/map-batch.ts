import { ServerMapping, type VmmMapping } from './mappings.ts';

/**
 * Mappings that have not been sent yet, neighbours joined: contiguous addresses, contiguous pages of the same file, the
 * same access. None overlap.
 */
export class MapBatch {
  readonly #runs: Set<ServerMapping> = new Set();
  readonly #byStart: Map<number, ServerMapping> = new Map();
  readonly #byEnd: Map<number, ServerMapping> = new Map();
  #parts = 0;

  /** Mappings of the VMM in it. */
  get parts(): number {
    return this.#parts;
  }

  /** Whether `mapping` would become part of one that is here. */
  joins(mapping: VmmMapping): boolean {
    return this.#before(mapping) !== undefined || this.#behind(mapping) !== undefined;
  }

  /** Adds a mapping; returns how many more mappings of the server there are to be: 1, 0 or -1. */
  add(mapping: VmmMapping): number {
    this.#parts++;
    const before = this.#before(mapping);
    const behind = this.#behind(mapping);
    const run = new ServerMapping([mapping]);
    const joined = [before, behind].filter((neighbour) => neighbour !== undefined);
    for (const neighbour of joined) this.#remove(neighbour);
    this.#insert(joined.reduce(join, run));
    return 1 - joined.length;
  }

  /** Everything in it, which is then empty. */
  take(): ServerMapping[] {
    const runs = [...this.#runs];
    this.#runs.clear();
    this.#byStart.clear();
    this.#byEnd.clear();
    this.#parts = 0;
    return runs;
  }

  #before(mapping: VmmMapping): ServerMapping | undefined {
    const run = this.#byEnd.get(mapping.iova);
    return run !== undefined && areNeighbours(run, mapping) ? run : undefined;
  }

  #behind(mapping: VmmMapping): ServerMapping | undefined {
    const run = this.#byStart.get(mapping.iova + mapping.pages);
    return run !== undefined && areNeighbours(mapping, run) ? run : undefined;
  }

  #insert(run: ServerMapping): void {
    this.#runs.add(run);
    this.#byStart.set(run.iova, run);
    this.#byEnd.set(run.end, run);
  }

  #remove(run: ServerMapping): void {
    this.#runs.delete(run);
    this.#byStart.delete(run.iova);
    this.#byEnd.delete(run.end);
  }
}

/** Whether a mapping can be part of a larger one: what remains of that may have to be mapped again later. */
export function isMergeable({ shared, file }: VmmMapping): boolean {
  return !shared || file?.descriptor !== undefined;
}

/** `mappings`, ascending, as few mappings of the server. */
export function mergeNeighbours(mappings: readonly VmmMapping[]): ServerMapping[] {
  const runs: VmmMapping[][] = [];
  for (const mapping of mappings) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    if (run !== undefined && last !== undefined && last.iova + last.pages === mapping.iova) run.push(mapping);
    else runs.push([mapping]);
  }
  return runs.map((run) => new ServerMapping(run));
}

type Neighbour = VmmMapping | ServerMapping;

/** Whether two mappings that touch, `low` ending where `high` begins, may be one. */
function areNeighbours(low: Neighbour, high: Neighbour): boolean {
  if (low.access !== high.access || low.shared !== high.shared || low.file !== high.file) return false;
  // Without a descriptor the offset means nothing, and is 0.
  return low.shared ? low.offset + low.pages === high.offset : low.offset === 0 && high.offset === 0;
}

/** The larger one takes in the other, so that a burst which grows one mapping costs no more than its length. */
function join(a: ServerMapping, b: ServerMapping): ServerMapping {
  const [kept, given] = a.parts.length >= b.parts.length ? [a, b] : [b, a];
  if (given.iova < kept.iova) {
    kept.parts.unshift(...given.parts);
    kept.iova = given.iova;
    kept.offset = given.offset;
  } else {
    kept.parts.push(...given.parts);
  }
  kept.pages += given.pages;
  for (const part of given.parts) part.server = kept;
  return kept;
}
