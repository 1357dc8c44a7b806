import * as spec from './spec/index.ts';

/** Reserved bits of the words of each structure, for one unit. */
export interface StructureMasks {
  readonly root: readonly number[];
  readonly context: readonly number[];
  /** One half of a scalable-mode root entry. */
  readonly smRootHalf: readonly number[];
  readonly smContext: readonly number[];
  readonly directory: readonly number[];
  readonly pasidEntry: readonly number[];
  readonly nestedPasidEntry: readonly number[];
}

const made: WeakMap<spec.Capability, Map<number, StructureMasks>> = new WeakMap();

/** The masks for a unit with `capability` and host address width `haw`, built once: a lookup must not build them anew. */
export function structureMasks(capability: spec.Capability, haw: number): StructureMasks {
  let ofUnit = made.get(capability);
  if (ofUnit === undefined) {
    ofUnit = new Map();
    made.set(capability, ofUnit);
  }
  let masks = ofUnit.get(haw);
  if (masks === undefined) {
    masks = {
      root: spec.rootEntryReserved(haw),
      context: spec.contextEntryReserved(haw),
      smRootHalf: spec.smRootHalfReserved(haw),
      smContext: spec.smContextEntryReserved(capability, haw),
      directory: spec.pasidDirectoryEntryReserved(haw),
      pasidEntry: spec.pasidTableEntryReserved(capability, haw),
      nestedPasidEntry: spec.pasidTableEntryReserved(capability, haw, true),
    };
    ofUnit.set(haw, masks);
  }
  return masks;
}
