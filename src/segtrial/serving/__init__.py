"""Model files in, a server out: pictures come over HTTP, and the answers of `segtrial predict` go back.

protocol.py    connections               ->  requests, or an end to whoever is too slow
gate.py        every request             ->  let in or refused; faults as JSON; safe headers
app.py v2.py   paths                     ->  the page, predictions, health, metrics, the Open Inference Protocol
exchange.py    a body                    ->  its place in the queue, its deadline
limits.py      what one may cost         ->  413, 408, 429, 503
service.py     a body and a model        ->  images and answers
decoding.py    a body                    ->  pixels, in a process that a hostile file may kill
batching.py    images as they come       ->  batches of equal ones
network.py     a batch                   ->  answers, in the process that holds the network
answers.py     an answer                 ->  PNG, overlay, JSON
reload.py      a file that changed       ->  a new version, while requests run
workers.py     a function                ->  processes that run it and are replaced when they die
server.py      all of these              ->  a server until it is asked to stop
"""
