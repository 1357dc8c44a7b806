/** What a guest and its operator may do to a machine, as data. @module */
import type { HostStrictness } from '../../../src/vfio/index.ts';
import type { Fault } from '../../vfio/delayed-host.ts';

/** A place in the device's address space: an offset into one of the windows of a domain. */
export interface Place {
  readonly window: number;
  /** Level-2 entry of the window, and page within it. */
  readonly slot: number;
  readonly page: number;
}

/** A place in guest memory: an offset from a remarkable page; `fits` moves it so that large leaves are possible. */
export interface Target {
  readonly near: number;
  readonly offset: number;
  readonly fits: boolean;
}

/** What kind of host a device is plugged into. */
export interface HostSpec {
  readonly strictness: HostStrictness;
  /** Pages of its smallest page. */
  readonly granule: 1 | 16 | 512;
  /** For how many more mappings than there are at the plug it has room, -1 for one too few; undefined for any number. */
  readonly room: number | undefined;
  /** Whether it can hold nothing beyond 2^39. */
  readonly narrow: boolean;
  /** Whether barriers are answered later. */
  readonly late: boolean;
  /** Which call fails, and how. */
  readonly failAt: number | undefined;
  readonly fault: Fault;
}

/** How entries are written behind the driver's back. */
export type RawEdit =
  | { readonly raw: 'leaf'; readonly target: Target; readonly access: 1 | 2 | 3 }
  | { readonly raw: 'bad'; readonly target: Target }
  | { readonly raw: 'clear' }
  | { readonly raw: 'restrict'; readonly access: 1 | 2 | 3 }
  | { readonly raw: 'split' }
  | { readonly raw: 'table'; readonly at: number; readonly count: number; readonly target: Target }
  | { readonly raw: 'pages'; readonly count: number; readonly target: Target; readonly access: 1 | 2 | 3 };

/** One step. Numbers that name things are taken modulo how many there are; a step that makes no sense is skipped. */
export type Step =
  | {
      readonly do: 'map';
      readonly domain: number;
      readonly place: Place;
      readonly pages: number;
      readonly target: Target;
      readonly access: 1 | 2 | 3;
    }
  | { readonly do: 'unmap'; readonly domain: number; readonly place: Place; readonly pages: number }
  | {
      readonly do: 'remap';
      readonly domain: number;
      readonly place: Place;
      readonly access: 1 | 2 | 3;
      readonly target: Target | undefined;
    }
  | {
      readonly do: 'raw';
      readonly domain: number;
      readonly place: Place;
      readonly level: number;
      readonly edit: RawEdit;
    }
  | { readonly do: 'invalidate-exactly'; readonly domain: number }
  | { readonly do: 'invalidate-pages'; readonly domain: number; readonly place: Place; readonly am: number }
  /** A part of one of the ranges that were written behind the driver's back; `part` of 1000. */
  | {
      readonly do: 'invalidate-within';
      readonly domain: number;
      readonly range: number;
      readonly part: number;
      readonly am: number;
    }
  | { readonly do: 'invalidate-domain'; readonly domain: number }
  | { readonly do: 'invalidate-all' }
  | { readonly do: 'invalidate-context'; readonly requester: number | undefined }
  | { readonly do: 'flush' }
  | { readonly do: 'attach'; readonly requester: number; readonly to: number }
  /** The same by rewriting the structures, of which the unit is not told. */
  | { readonly do: 'attach-silently'; readonly requester: number; readonly to: number }
  | { readonly do: 'invalidate-everything' }
  | { readonly do: 'translation'; readonly on: boolean }
  | { readonly do: 'new-domain'; readonly domain: number; readonly levels: 3 | 4 | 5 }
  | { readonly do: 'plug'; readonly slot: number; readonly host: HostSpec; readonly wait: boolean }
  | { readonly do: 'unplug'; readonly slot: number; readonly wait: boolean }
  | { readonly do: 'release'; readonly slot: number }
  | {
      readonly do: 'ram';
      readonly changes: readonly { readonly region: number; readonly to: 'out' | 'new' }[];
    }
  | { readonly do: 'tick' }
  | { readonly do: 'barrier' };

/** What a run starts from. */
export interface Start {
  readonly mode: 'legacy' | 'scalable';
  readonly invalidation: 'strict' | 'lazy';
  readonly iotlb: boolean;
  /** CAP_REG.PSI. */
  readonly PSI: boolean;
  /** Levels of each domain's tables. */
  readonly levels: readonly (3 | 4 | 5)[];
  /** What each requester is attached to. */
  readonly attached: readonly number[];
}
