import type { PageRange } from '../../memory/index.ts';
import type { Completion } from './steps.ts';

/** How mappings that changed are told to a unit. */
export interface MappingInvalidator {
  /** Whether the unit may have cached that something is not mapped, and is told when it becomes so. */
  readonly tellsOfMaps: boolean;
  /** Invalidates at least `range` of the domain `id`; `leavesOnly` says that no table was taken out. */
  invalidateRange(id: number, range: PageRange, leavesOnly: boolean): Completion;
  /** Invalidates all that is cached of these domains. */
  invalidateDomains(ids: readonly number[]): Completion;
}
