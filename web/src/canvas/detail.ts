// How much of each node the canvas draws.
import { createContext } from "svelte";

/** `plain`: the graph is large and seen from afar, so that a node is a box with its title. */
export interface Detail {
  readonly plain: boolean;
}

export const [getDetail, setDetail] = createContext<Detail>();
