import type { WalkFault } from '../iommu/index.ts';
import { IommuSection } from './iommu-section.ts';
import { RamSection } from './ram-section.ts';
import type { SectionMapper } from './section-mapper.ts';

/** What a plug did. */
export interface AttachReport {
  /** Mappings of guest IOMMUs that were replayed into the host. */
  readonly replayed: number;
  /** Sections of RAM and ROM that were mapped directly. */
  readonly ramSections: number;
  /** Mappings of guest IOMMUs that lead to no RAM, and were left out. */
  readonly notRam: number;
  /** Table entries read. */
  readonly entriesRead: number;
  /** Faults of the tables met; what they hide is not mapped. */
  readonly faultCount: number;
  /** The first sixteen of them in every section, in pages of the address space. */
  readonly faults: readonly WalkFault[];
}

/** What the activation of `mappers`, ascending, did; `held` mappings are in the host now. */
export function attachReport(mappers: readonly SectionMapper[], held: number, notRam: number): AttachReport {
  const ramSections = mappers.filter((mapper) => mapper instanceof RamSection && mapper.mapped).length;
  let entriesRead = 0;
  let faultCount = 0;
  const faults: WalkFault[] = [];
  for (const mapper of mappers) {
    if (!(mapper instanceof IommuSection) || mapper.replay === undefined) continue;
    const { walk } = mapper.replay;
    entriesRead += walk.entries;
    faultCount += walk.faultCount;
    faults.push(...walk.faults.map((fault) => ({ ...fault, iova: fault.iova + mapper.shift })));
  }
  return { replayed: held - ramSections, ramSections, notRam, entriesRead, faultCount, faults };
}
