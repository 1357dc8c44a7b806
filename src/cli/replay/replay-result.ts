/** What a replay is asked for, and what came of it. @module */
import type { HostStrictness } from '../../vfio/index.ts';
import type { MappingDifference } from './mapping-differences.ts';
import type { RemoteServer } from './remote-server.ts';

/** How a capture is replayed. */
export interface ReplayOptions {
  /** Whose rules the host in memory has. */
  readonly host: HostStrictness;
  /** Smallest page of the host, in bytes, a power of two of at least 4,096; of `server` when there is one. */
  readonly hostPageSize: number;
  /** The server to replay into instead of a host in memory; connected, and without mappings. */
  readonly server?: RemoteServer;
  /** Called now and then on long work. */
  readonly progress?: (done: number, total: number, what: string) => void;
}

/** What came of it. */
export interface ReplayResult {
  readonly capture: string;
  readonly description: string;
  /** `BB:DD.F`. */
  readonly requester: string;
  /** Mappings replayed when the device was plugged onto the captured tables. */
  readonly replayed: number;
  /** Whether QEMU's own replay was the same; null when the capture holds nothing that QEMU sent. */
  readonly matchesQemu: boolean | null;
  /** What the guest was made to do again after the plug, and what one of it is called. */
  readonly eventsPlayed: number;
  readonly playedUnit: string;
  /** What the guest's mappings lie in. */
  readonly mappedIn: 'tables' | 'domain';
  /** Mappings of the host at the end. */
  readonly finalMappings: number;
  /** Whether the host ended equal to the guest's final tables, and those to the recorded listing. */
  readonly finalEqual: boolean;
  /** All comparisons that the capture allows. */
  readonly equal: boolean;
  readonly hostMessages: { readonly maps: number; readonly unmaps: number; readonly barriers: number };
  readonly times: {
    readonly loadMs: number;
    readonly replayMs: number;
    readonly eventsMs: number;
    readonly qemuReplayMs: number | null;
  };
  /** The final mappings by size in bytes and access. */
  readonly bySize: readonly { readonly size: number; readonly access: string; readonly count: number }[];
  /** What a reader should know. */
  readonly notes: readonly string[];
  /** The first differences found. */
  readonly differences: readonly MappingDifference[];
  readonly differenceCount: number;
  /** Why the plug was refused, with the remedy; then nothing else was compared. */
  readonly refused?: string;
}
