" What is loaded when Vim starts, and no more: the command, the <Plug> keys, and when the rest is
" needed. Not Vim9 script, so that an older Vim can say why it has no ingle.

if exists('g:loaded_ingle')
  finish
endif
let g:loaded_ingle = 1

let s:objection = ''
if has('nvim')
  let s:objection = 'this is the plugin for Vim: Neovim has one of its own'
elseif !has('patch-9.0.1378')
  let s:objection = 'needs Vim 9.0.1378 or newer'
else
  for s:feature in ['vim9script', 'job', 'channel', 'timers', 'textprop', 'popupwin']
    if !has(s:feature)
      let s:objection = 'this Vim was built without +' . s:feature . ': on Debian, apt install vim-nox'
      break
    endif
  endfor
endif
if s:objection !=# ''
  echohl WarningMsg
  echomsg 'ingle: ' . s:objection
  echohl None
  finish
endif

command! -nargs=* -range -bang -complete=customlist,ingle#command#Complete Ingle
      \ call ingle#command#Run(<q-args>, <range>, <line1>, <line2>, <bang>0)

inoremap <Plug>(ingle-suggest) <Cmd>call ingle#suggest#Suggest()<CR>
nnoremap <Plug>(ingle-menu) <Cmd>Ingle menu<CR>
nnoremap <Plug>(ingle-start) <Cmd>Ingle start<CR>
nnoremap <Plug>(ingle-chat) <Cmd>Ingle chat<CR>
xnoremap <Plug>(ingle-chat) :Ingle chat<CR>
nnoremap <Plug>(ingle-actions) <Cmd>Ingle actions<CR>
xnoremap <Plug>(ingle-actions) :Ingle actions<CR>
for s:action in ['explain', 'fix', 'tests', 'document', 'refactor']
  execute 'nnoremap <Plug>(ingle-' . s:action . ') <Cmd>Ingle ' . s:action . '<CR>'
  execute 'xnoremap <Plug>(ingle-' . s:action . ') :Ingle ' . s:action . '<CR>'
endfor

augroup ingle
  autocmd!
  " Buffers that are read while Vim starts have their turn when it has drawn them.
  autocmd VimEnter * call timer_start(0, {-> ingle#events#Start()})
augroup END
if v:vim_did_enter
  call timer_start(0, {-> ingle#events#Start()})
endif
