/** Identifiers and widths of AMD-Vi domains. @module */
import { PAGES_END } from '../../memory/index.ts';
import type { DomainRules } from '../driver/domain.ts';
import { spanOf } from '../driver/table-entry.ts';
import type { GuestTableFormat } from '../driver/table-format.ts';

/** Identifier of the domain that passes through. */
export const PASS_THROUGH_DOMAIN = 1;

/** Rules for the domains of any unit: DomainID has 16 bits. */
export function amdviDomainRules(format: GuestTableFormat): DomainRules {
  return {
    format,
    firstId: PASS_THROUGH_DOMAIN + 1,
    ids: 2 ** 16,
    end: (levels) => Math.min(spanOf(levels + 1), PAGES_END),
  };
}
