/** Identifiers and widths of VT-d domains. @module */
import { spec } from '../../models/vtd/index.ts';
import type { DomainRules } from '../driver/domain.ts';
import type { GuestTableFormat } from '../driver/table-format.ts';

/** Stands for entries that were not present (VT-d 6.1): no domain has this identifier. */
export const NO_DOMAIN = 0;

/** Identifier that Linux gives the pass-through domain. */
export const PASS_THROUGH_DOMAIN = 1;

/** Rules for the domains of a unit. */
export function vtdDomainRules(capability: spec.Capability, format: GuestTableFormat): DomainRules {
  return {
    format,
    firstId: PASS_THROUGH_DOMAIN + 1,
    ids: 2 ** (4 + 2 * capability.ND),
    end: (levels) => 2 ** (Math.min(spec.adjustedWidth(levels), capability.MGAW) - 12),
  };
}
