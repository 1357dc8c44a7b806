/** What a shadow keeps in the flags of its ledger, beside the access in bits 0-1. @module */

/** The target is not RAM that the access fits. */
export const NOT_RAM = 4;
/** The flags whose change is a change for the sink. */
export const SEEN_BY_SINK = 7;
/** Of a leaf that was split into several mappings: it began before this piece. */
export const CONTINUED = 8;
/** Of a leaf that was split into several mappings: it goes on behind this piece. */
export const CONTINUES = 16;
