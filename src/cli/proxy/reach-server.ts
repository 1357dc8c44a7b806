import type { Channel } from '../../vfio-user/index.ts';
import type { LiveWorld } from '../serve/live-world.ts';

/** QEMU gives up on an answer after five seconds. */
const PATIENCE_MS = 4000;
const INTERVAL_MS = 200;

/** A channel to the server, or why there is none. */
export type ReachedServer = { readonly channel: Channel } | { readonly why: string };

/**
 * Connects to the server, which may be about to start: tries for some seconds while nobody listens there. Says so
 * once. Gives up early when `stopping` is aborted, and at once on any other failure.
 */
export async function reachServer(
  { connect, clock }: Pick<LiveWorld, 'connect' | 'clock'>,
  path: string,
  stopping: AbortSignal,
  say: (sentence: string) => void,
): Promise<ReachedServer> {
  for (let waited = 0; ; waited += INTERVAL_MS) {
    try {
      return { channel: await connect(path) };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const absent = error instanceof Error && 'code' in error && error.code === 'VIOMMU_NO_LISTENER';
      if (!absent || waited >= PATIENCE_MS || stopping.aborted) return { why };
      if (waited === 0) say(`${why}; trying again for ${PATIENCE_MS / 1000} seconds`);
    }
    await clock.wait(INTERVAL_MS, stopping);
  }
}
