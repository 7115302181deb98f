" What must not be Vim9 script.

" For status lines: set statusline=%f\ %=%{ingle#StatusLine()}
" Nothing else is loaded, so that a Vim that just starts has no work with it.
function! ingle#StatusLine() abort
  return exists('*ingle#status#Line') ? ingle#status#Line() : ''
endfunction

" Map a key again as `maparg()` told; what was mapped by hand is legacy script.
function! ingle#MapAgain(mapping) abort
  call mapset('i', 0, a:mapping)
endfunction
