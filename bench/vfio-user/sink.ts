import { setTimeout } from 'node:timers/promises';
import { Peer } from './peer.ts';

/** What a server counted since the last reset. */
export interface SinkStatistics {
  readonly maps: number;
  readonly refused: number;
  /** Mappings held now. */
  readonly held: number;
  readonly connected: boolean;
  readonly firstToLastMapNs: number;
  /** Processor time of its whole process. */
  readonly cpuNs: number;
}

/** A vfio-user server in a process of its own: server.c, or ours. */
export class Sink {
  readonly name: string;
  readonly socket: string;
  readonly #peer: Peer;

  private constructor(name: string, socket: string, peer: Peer) {
    this.name = name;
    this.socket = socket;
    this.#peer = peer;
  }

  /** Starts `command` with the path of its socket as last argument. */
  static async start(name: string, command: readonly string[], socket: string): Promise<Sink> {
    const peer = new Peer(`server ${name}`, [...command, socket]);
    await peer.line();
    return new Sink(name, socket, peer);
  }

  /** Statistics so far; counts begin anew. */
  reset(): Promise<SinkStatistics> {
    return this.#peer.ask('reset');
  }

  statistics(): Promise<SinkStatistics> {
    return this.#peer.ask('stats');
  }

  /** Resolves when the last client is gone, so that the next one is not turned away. Counts begin anew. */
  async idle(): Promise<void> {
    while ((await this.statistics()).connected) await setTimeout(1);
    await this.reset();
  }

  /** What is mapped, ascending, one line a mapping. */
  async ledger(): Promise<string> {
    const { ledger } = await this.#peer.ask<{ readonly ledger: readonly LedgerEntry[] }>('ledger');
    return ledger.map(({ iova, size, offset, perm }) => `${iova} ${size} ${offset} ${perm}`).join('\n');
  }

  /** Ends the server. */
  end(): Promise<void> {
    return this.#peer.end();
  }
}

interface LedgerEntry {
  readonly iova: string;
  readonly size: number;
  readonly offset: string;
  readonly perm: string;
}
