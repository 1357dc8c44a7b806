import type { NaiveHostLimits } from '../naive/world.ts';
import { EVERY_PAGE } from './layout.ts';
import type { HostSpec } from './steps.ts';

/** A host that can hold everything. */
export const UNLIMITED: NaiveHostLimits = {
  granule: 1,
  maxMappings: Number.POSITIVE_INFINITY,
  apertures: [EVERY_PAGE],
};

/** Whether a host of this kind can be the cause of such a refusal. */
export function possibleCause({ granule, narrow, room, failAt, fault }: HostSpec, cause: string): boolean {
  switch (cause) {
    case 'page-size':
      return granule > 1;
    case 'aperture':
      return narrow;
    case 'too-many-mappings':
      return room !== undefined;
    case 'host-refused':
      return failAt !== undefined && fault === 'refuse';
    case 'host-lost':
      return failAt !== undefined;
    default:
      return false;
  }
}
