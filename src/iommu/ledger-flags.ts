/** What a shadow keeps in the flags of its ledger, beside the access in bits 0-1. @module */

/** The target is not RAM that the access fits. */
export const NOT_RAM = 4;
/** The flags whose change is a change for the sink. */
export const SEEN_BY_SINK = 7;
/** Of a leaf that was split into several mappings: it began before this piece. */
export const CONTINUED = 8;
/** Of a leaf that was split into several mappings: it goes on behind this piece. */
export const CONTINUES = 16;

/** Whether a mapping of a shadow's ledger was told as one of RAM, which a host may hold. */
export function leadsToRam({ flags }: { readonly flags: number }): boolean {
  return (flags & NOT_RAM) === 0;
}
